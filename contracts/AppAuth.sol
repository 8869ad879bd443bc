// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {MulticallUpgradeable} from "@openzeppelin/contracts-upgradeable/utils/MulticallUpgradeable.sol";
import {ERC165Upgradeable} from "@openzeppelin/contracts-upgradeable/utils/introspection/ERC165Upgradeable.sol";
import {TcbAcceptance} from "./base/TcbAcceptance.sol";
import {IAppAuth} from "./interfaces/IAppAuth.sol";
import {IAppAuthBasicManagement} from "./interfaces/IAppAuthBasicManagement.sol";
import {IAppAuthHardening} from "./interfaces/IAppAuthHardening.sol";
import {IAppAuthSettings} from "./interfaces/IAppAuthSettings.sol";
import {ITcbAcceptance} from "./interfaces/ITcbAcceptance.sol";

/// @title Policy of one app; the address of its proxy is the app id
/// @notice Lists the compose documents and devices that may have the app's keys.
/// @dev Storage is that of the contracts already deployed; whatever is newer lives in namespaces (ERC-7201), whose zero value keeps the
///      old behaviour.
contract AppAuth is
    Initializable,
    UUPSUpgradeable,
    ERC165Upgradeable,
    MulticallUpgradeable,
    TcbAcceptance,
    IAppAuth,
    IAppAuthBasicManagement,
    IAppAuthSettings,
    IAppAuthHardening
{
    bytes32 private constant COMPOSE_HASH = keccak256("compose-hash");
    bytes32 private constant DEVICE = keccak256("device");
    bytes32 private constant ALLOW_ANY_DEVICE = keccak256("allow-any-device");
    bytes32 private constant REQUIRE_TCB_UP_TO_DATE = keccak256("require-tcb-up-to-date");
    bytes32 private constant UPGRADES_DISABLED = keccak256("upgrades-disabled");
    bytes32 private constant IMPLEMENTATION_UPGRADE = keccak256("implementation-upgrade");
    bytes32 private constant POLICY_FROZEN = keccak256("policy-frozen");

    uint256 private constant ALL_SWITCHES = 2 ** (uint256(Switch.KeepOwner) + 1) - 1;

    /// @inheritdoc IAppAuthSettings
    mapping(bytes32 composeHash => bool) public override allowedComposeHashes;

    bool private _upgradesDisabled;

    /// @inheritdoc IAppAuthSettings
    bool public override allowAnyDevice;

    /// @inheritdoc IAppAuthSettings
    mapping(bytes32 deviceId => bool) public override allowedDeviceIds;

    /// @inheritdoc IAppAuthSettings
    bool public override requireTcbUpToDate;

    /// @dev Slots 4 to 52 stay zero.
    uint256[49] private __gap;

    /// @dev The implementation itself is never anybody's.
    /// @custom:oz-upgrades-unsafe-allow constructor
    constructor() {
        _disableInitializers();
    }

    /// @inheritdoc IAppAuthSettings
    function initialize(
        address initialOwner,
        bool disableUpgrades_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external override initializer {
        _initialize(initialOwner, disableUpgrades_, false, allowAnyDevice_, initialDeviceId, initialComposeHash);
    }

    /// @inheritdoc IAppAuthSettings
    function initialize(
        address initialOwner,
        bool disableUpgrades_,
        bool requireTcbUpToDate_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external override initializer {
        _initialize(initialOwner, disableUpgrades_, requireTcbUpToDate_, allowAnyDevice_, initialDeviceId, initialComposeHash);
    }

    /// @inheritdoc IAppAuthHardening
    function initializeStrict(
        address initialOwner,
        bool disableUpgrades_,
        bool requireTcbUpToDate_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external override initializer {
        _setHardening(ALL_SWITCHES);
        _initialize(initialOwner, disableUpgrades_, requireTcbUpToDate_, allowAnyDevice_, initialDeviceId, initialComposeHash);
        _emitAllowAnyDeviceSet(allowAnyDevice_);
        _emitRequireTcbUpToDateSet(requireTcbUpToDate_);
        if (disableUpgrades_) _emitUpgradesDisabled();
    }

    /// @inheritdoc IAppAuthHardening
    function replaceComposeHash(bytes32 oldComposeHash, bytes32 newComposeHash) external override onlyOwner {
        _requireChangeable();
        if (newComposeHash == 0) revert ZeroHash(COMPOSE_HASH);
        if (!allowedComposeHashes[oldComposeHash]) revert ComposeHashNotListed(oldComposeHash);
        if (allowedComposeHashes[newComposeHash]) revert ComposeHashAlreadyListed(newComposeHash);
        _removeComposeHash(oldComposeHash);
        _addComposeHash(newComposeHash);
    }

    /// @inheritdoc IAppAuthHardening
    function freezePolicy() external override onlyOwner {
        if (policyFrozen()) return;
        _freezePolicy();
        emit PolicyFrozen();
        emit PolicyChanged(msg.sender, POLICY_FROZEN, 0, true);
    }

    /// @inheritdoc IAppAuthBasicManagement
    function addComposeHash(bytes32 composeHash) external override onlyOwner {
        _requireChangeable();
        _addComposeHash(composeHash);
    }

    /// @inheritdoc IAppAuthBasicManagement
    function removeComposeHash(bytes32 composeHash) external override onlyOwner {
        _requireChangeable();
        _removeComposeHash(composeHash);
    }

    /// @inheritdoc IAppAuthBasicManagement
    function addDevice(bytes32 deviceId) external override onlyOwner {
        _requireChangeable();
        _addDevice(deviceId);
    }

    /// @inheritdoc IAppAuthBasicManagement
    function removeDevice(bytes32 deviceId) external override onlyOwner {
        _requireChangeable();
        if (!_list(allowedDeviceIds, DEVICE, deviceId, false)) return;
        emit DeviceRemoved(deviceId);
        emit PolicyChanged(msg.sender, DEVICE, deviceId, false);
    }

    /// @inheritdoc IAppAuthSettings
    function setAllowAnyDevice(bool allowAny) external override onlyOwner {
        _requireChangeable();
        if (_isQuiet(allowAnyDevice == allowAny)) return;
        allowAnyDevice = allowAny;
        _emitAllowAnyDeviceSet(allowAny);
    }

    /// @inheritdoc IAppAuthSettings
    function setRequireTcbUpToDate(bool requireUpToDate) external override onlyOwner {
        _requireChangeable();
        if (_isQuiet(requireTcbUpToDate == requireUpToDate)) return;
        requireTcbUpToDate = requireUpToDate;
        _emitRequireTcbUpToDateSet(requireUpToDate);
    }

    /// @inheritdoc IAppAuthSettings
    function disableUpgrades() external override onlyOwner {
        if (_isQuiet(_upgradesDisabled)) return;
        _upgradesDisabled = true;
        _emitUpgradesDisabled();
    }

    /// @inheritdoc IAppAuth
    function isAppAllowed(AppBootInfo calldata bootInfo) external view override returns (bool isAllowed, string memory reason) {
        if (requireTcbUpToDate) {
            string memory tcbDenial = _tcbDenial(bootInfo.tcbStatus, bootInfo.advisoryIds);
            if (bytes(tcbDenial).length != 0) return (false, tcbDenial);
        }
        if (!allowedComposeHashes[bootInfo.composeHash]) return (false, "Compose hash not allowed");
        if (!allowAnyDevice && !allowedDeviceIds[bootInfo.deviceId]) return (false, "Device not allowed");
        return (true, "");
    }

    /// @inheritdoc IAppAuthHardening
    function policyFrozen() public view override returns (bool) {
        return _isPolicyFrozen();
    }

    /// @inheritdoc IAppAuthHardening
    function upgradesDisabled() external view override returns (bool) {
        return _upgradesDisabled;
    }

    /// @inheritdoc IAppAuthSettings
    function version() external pure override returns (uint256) {
        return 2;
    }

    /// @inheritdoc ERC165Upgradeable
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return
            interfaceId == type(IAppAuth).interfaceId ||
            interfaceId == type(IAppAuthBasicManagement).interfaceId ||
            interfaceId == type(IAppAuthHardening).interfaceId ||
            interfaceId == type(ITcbAcceptance).interfaceId ||
            super.supportsInterface(interfaceId);
    }

    /// @dev Tells who asked for which code before anything of that code runs.
    function _authorizeUpgrade(address newImplementation) internal override onlyOwner {
        require(!_upgradesDisabled, "Upgrades are permanently disabled");
        emit PolicyChanged(msg.sender, IMPLEMENTATION_UPGRADE, bytes32(uint256(uint160(newImplementation))), true);
    }

    /// @dev Removals are frozen too: users of an immutable app can rely on it to go on.
    function _requireChangeable() internal view override {
        if (_isPolicyFrozen()) revert PolicyIsFrozen();
    }

    function _knownSwitches() internal pure override returns (uint256) {
        return ALL_SWITCHES;
    }

    /// @dev The order of the events is fixed by deployed indexers; the three flags have none here.
    function _initialize(
        address initialOwner,
        bool disableUpgrades_,
        bool requireTcbUpToDate_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) private {
        require(initialOwner != address(0), "invalid owner address");
        _upgradesDisabled = disableUpgrades_;
        requireTcbUpToDate = requireTcbUpToDate_;
        allowAnyDevice = allowAnyDevice_;
        if (initialDeviceId != 0) _addDevice(initialDeviceId);
        if (initialComposeHash != 0) _addComposeHash(initialComposeHash);
        __Ownable_init(initialOwner);
    }

    function _addComposeHash(bytes32 composeHash) private {
        if (!_list(allowedComposeHashes, COMPOSE_HASH, composeHash, true)) return;
        emit ComposeHashAdded(composeHash);
        emit PolicyChanged(msg.sender, COMPOSE_HASH, composeHash, true);
    }

    function _removeComposeHash(bytes32 composeHash) private {
        if (!_list(allowedComposeHashes, COMPOSE_HASH, composeHash, false)) return;
        emit ComposeHashRemoved(composeHash);
        emit PolicyChanged(msg.sender, COMPOSE_HASH, composeHash, false);
    }

    function _addDevice(bytes32 deviceId) private {
        if (!_list(allowedDeviceIds, DEVICE, deviceId, true)) return;
        emit DeviceAdded(deviceId);
        emit PolicyChanged(msg.sender, DEVICE, deviceId, true);
    }

    function _emitAllowAnyDeviceSet(bool allowAny) private {
        emit AllowAnyDeviceSet(allowAny);
        emit PolicyChanged(msg.sender, ALLOW_ANY_DEVICE, 0, allowAny);
    }

    function _emitRequireTcbUpToDateSet(bool requireUpToDate) private {
        emit RequireTcbUpToDateSet(requireUpToDate);
        emit PolicyChanged(msg.sender, REQUIRE_TCB_UP_TO_DATE, 0, requireUpToDate);
    }

    function _emitUpgradesDisabled() private {
        emit UpgradesDisabled();
        emit PolicyChanged(msg.sender, UPGRADES_DISABLED, 0, true);
    }

    /// @dev A strict app says nothing of a change that changes nothing; a compatible one repeats itself.
    function _isQuiet(bool unchanged) private view returns (bool) {
        return unchanged && _isOn(Switch.StrictChanges);
    }
}
