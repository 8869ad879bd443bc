// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {MulticallUpgradeable} from "@openzeppelin/contracts-upgradeable/utils/MulticallUpgradeable.sol";
import {PausableUpgradeable} from "@openzeppelin/contracts-upgradeable/utils/PausableUpgradeable.sol";
import {ERC165Upgradeable} from "@openzeppelin/contracts-upgradeable/utils/introspection/ERC165Upgradeable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";
import {TcbAcceptance} from "./base/TcbAcceptance.sol";
import {IAppAuth} from "./interfaces/IAppAuth.sol";
import {IAppAuthHardening} from "./interfaces/IAppAuthHardening.sol";
import {IKmsAuth} from "./interfaces/IKmsAuth.sol";
import {IKmsAuthHardening} from "./interfaces/IKmsAuthHardening.sol";
import {ITcbAcceptance} from "./interfaces/ITcbAcceptance.sol";
import {AppCall} from "./libraries/AppCall.sol";
import {CodeStorage} from "./libraries/CodeStorage.sol";
import {ContractChecks} from "./libraries/ContractChecks.sol";
import {RootKeyEvidence} from "./libraries/RootKeyEvidence.sol";

/// @title Governance of one KMS trust domain
/// @notice Answers which machines may hold the root keys, and passes questions about an app on to the app's own contract.
/// @dev Storage is that of the contracts already deployed; whatever is newer lives in namespaces (ERC-7201), whose zero value keeps the
///      old behaviour.
contract KmsAuth is
    Initializable,
    UUPSUpgradeable,
    ERC165Upgradeable,
    PausableUpgradeable,
    MulticallUpgradeable,
    TcbAcceptance,
    IKmsAuth,
    IKmsAuthHardening
{
    /// @custom:storage-location erc7201:keyward.storage.KmsAuth
    struct KmsAuthStorage {
        address quoteVerifier;
        mapping(address appId => bool) suspendedApps;
        mapping(bytes32 policy => address) evidenceCode;
    }

    /// @dev The arguments of the factory, which do not fit on the stack beside its own variables.
    struct AppSettings {
        address initialOwner;
        bool disableUpgrades;
        bool requireTcbUpToDate;
        bool allowAnyDevice;
        bytes32 initialDeviceId;
        bytes32 initialComposeHash;
    }

    bytes32 private constant KMS_AUTH_STORAGE = 0xf7f55bef94f18b5f046d9c94a50e98b4dc1179b64367d3ad65bf0fb3930b6d00;

    bytes32 private constant KMS_AGGREGATED_MR = keccak256("kms-aggregated-mr");
    bytes32 private constant KMS_DEVICE = keccak256("kms-device");
    bytes32 private constant OS_IMAGE = keccak256("os-image");
    bytes32 private constant GATEWAY_APP_ID = keccak256("gateway-app-id");
    bytes32 private constant REGISTERED_APP = keccak256("registered-app");
    bytes32 private constant SUSPENDED_APP = keccak256("suspended-app");
    bytes32 private constant APP_IMPLEMENTATION = keccak256("app-implementation");
    bytes32 private constant KMS_INFO = keccak256("kms-info");
    bytes32 private constant KMS_QUOTE = keccak256("kms-quote");
    bytes32 private constant KMS_EVENTLOG = keccak256("kms-eventlog");
    bytes32 private constant QUOTE_VERIFIER = keccak256("quote-verifier");
    bytes32 private constant PAUSED = keccak256("paused");
    bytes32 private constant IMPLEMENTATION_UPGRADE = keccak256("implementation-upgrade");

    /// @dev The 6-argument form of the app's `initialize`, spelled out because the name is overloaded.
    bytes4 private constant INITIALIZE_APP = bytes4(keccak256("initialize(address,bool,bool,bool,bytes32,bytes32)"));

    uint256 private constant ALL_SWITCHES = 2 ** (uint256(Switch.StrictApps) + 1) - 1;

    /// @dev Guests look for a gateway's id inside this text; several 20-byte ids fit.
    uint256 private constant MAX_GATEWAY_APP_ID_BYTES = 1_024;

    /// @dev Quote and event log are here only while root keys are not checked.
    /// @custom:oz-renamed-from kmsInfo
    KmsInfo private _kmsInfo;

    /// @inheritdoc IKmsAuth
    /// @custom:oz-renamed-from tproxyAppId
    string public override gatewayAppId;

    /// @inheritdoc IKmsAuth
    mapping(address appId => bool) public override registeredApps;

    /// @inheritdoc IKmsAuth
    mapping(bytes32 mrAggregated => bool) public override kmsAllowedAggregatedMrs;

    /// @inheritdoc IKmsAuth
    mapping(bytes32 deviceId => bool) public override kmsAllowedDeviceIds;

    /// @inheritdoc IKmsAuth
    mapping(bytes32 osImageHash => bool) public override allowedOsImages;

    /// @inheritdoc IKmsAuth
    address public override appImplementation;

    /// @dev Slots 10 to 59 stay zero.
    uint256[50] private __gap;

    /// @dev The implementation itself is never anybody's.
    /// @custom:oz-upgrades-unsafe-allow constructor
    constructor() {
        _disableInitializers();
    }

    /// @inheritdoc IKmsAuth
    function initialize(address initialOwner, address appImplementation_) external override initializer {
        __Ownable_init(initialOwner);
        if (appImplementation_ != address(0)) _setAppImplementation(appImplementation_);
    }

    /// @inheritdoc IKmsAuthHardening
    function initializeStrict(address initialOwner, address appImplementation_) external override initializer {
        __Ownable_init(initialOwner);
        _setHardening(ALL_SWITCHES);
        if (appImplementation_ == address(0)) revert ZeroAddress(APP_IMPLEMENTATION);
        _setAppImplementation(appImplementation_);
    }

    /// @inheritdoc IKmsAuthHardening
    function setQuoteVerifier(address newQuoteVerifier) external override onlyOwner {
        if (_storage().quoteVerifier == newQuoteVerifier) return;
        if (newQuoteVerifier != address(0)) ContractChecks.requireCode(newQuoteVerifier);
        _storage().quoteVerifier = newQuoteVerifier;
        emit QuoteVerifierSet(newQuoteVerifier);
        emit PolicyChanged(msg.sender, QUOTE_VERIFIER, _asBytes32(newQuoteVerifier), newQuoteVerifier != address(0));
    }

    /// @inheritdoc IKmsAuthHardening
    function pause() external override onlyOwner {
        if (paused()) return;
        _pause();
        emit PolicyChanged(msg.sender, PAUSED, 0, true);
    }

    /// @inheritdoc IKmsAuthHardening
    function unpause() external override onlyOwner {
        if (!paused()) return;
        _unpause();
        emit PolicyChanged(msg.sender, PAUSED, 0, false);
    }

    /// @inheritdoc IKmsAuthHardening
    function suspendApp(address appId) external override onlyOwner {
        if (appId == address(0)) revert ZeroAddress(SUSPENDED_APP);
        if (suspendedApps(appId)) return;
        _storage().suspendedApps[appId] = true;
        emit AppSuspended(appId);
        emit PolicyChanged(msg.sender, SUSPENDED_APP, _asBytes32(appId), true);
    }

    /// @inheritdoc IKmsAuthHardening
    function reinstateApp(address appId) external override onlyOwner {
        if (!suspendedApps(appId)) return;
        _storage().suspendedApps[appId] = false;
        emit AppReinstated(appId);
        emit PolicyChanged(msg.sender, SUSPENDED_APP, _asBytes32(appId), false);
    }

    /// @inheritdoc IKmsAuth
    function setKmsInfo(KmsInfo calldata info) external override onlyOwner {
        bool isChecked = _isOn(Switch.CheckRootKeys);
        if (isChecked) {
            RootKeyEvidence.requireKeys(info.k256Pubkey, info.caPubkey);
            RootKeyEvidence.requireBound(info.k256Pubkey, info.caPubkey, info.quote, _storage().quoteVerifier);
        }
        bool changed = _setKeys(info.k256Pubkey, info.caPubkey);
        changed = _setEvidence(KMS_QUOTE, info.quote, isChecked) || changed;
        changed = _setEvidence(KMS_EVENTLOG, info.eventlog, isChecked) || changed;
        if (isChecked) {
            if (!changed) return;
            _emitKmsEvidenceSet();
        }
        emit KmsInfoSet(info.k256Pubkey);
        emit PolicyChanged(msg.sender, KMS_INFO, keccak256(info.k256Pubkey), true);
    }

    /// @inheritdoc IKmsAuth
    function setKmsQuote(bytes calldata quote) external override onlyOwner {
        bool isChecked = _isOn(Switch.CheckRootKeys);
        if (isChecked) RootKeyEvidence.requireBound(_kmsInfo.k256Pubkey, _kmsInfo.caPubkey, quote, _storage().quoteVerifier);
        _setOneEvidence(KMS_QUOTE, quote, isChecked);
    }

    /// @inheritdoc IKmsAuth
    function setKmsEventlog(bytes calldata eventlog) external override onlyOwner {
        _setOneEvidence(KMS_EVENTLOG, eventlog, _isOn(Switch.CheckRootKeys));
    }

    /// @inheritdoc IKmsAuth
    function setGatewayAppId(string calldata newGatewayAppId) external override onlyOwner {
        if (_isOn(Switch.StrictChanges)) {
            uint256 size = bytes(newGatewayAppId).length;
            if (size > MAX_GATEWAY_APP_ID_BYTES) revert LengthOutOfRange(GATEWAY_APP_ID, 0, MAX_GATEWAY_APP_ID_BYTES, size);
            if (keccak256(bytes(newGatewayAppId)) == keccak256(bytes(gatewayAppId))) return;
        }
        gatewayAppId = newGatewayAppId;
        emit GatewayAppIdSet(newGatewayAppId);
        emit PolicyChanged(msg.sender, GATEWAY_APP_ID, keccak256(bytes(newGatewayAppId)), true);
    }

    /// @inheritdoc IKmsAuth
    function registerApp(address appId) external override {
        require(appId != address(0), "Invalid app ID");
        if (_isOn(Switch.FactoryOnly) && msg.sender != owner()) revert RegistrationClosed(owner(), msg.sender);
        if (_isOn(Switch.StrictChanges) && registeredApps[appId]) return;
        if (_isOn(Switch.CheckContracts)) {
            ContractChecks.requireCode(appId);
            ContractChecks.requireInterface(appId, type(IAppAuth).interfaceId);
        }
        _registerApp(appId);
    }

    /// @inheritdoc IKmsAuth
    function setAppImplementation(address newImplementation) external override onlyOwner {
        require(newImplementation != address(0), "Invalid implementation address");
        if (_isOn(Switch.StrictChanges) && newImplementation == appImplementation) return;
        _setAppImplementation(newImplementation);
    }

    /// @inheritdoc IKmsAuth
    function deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external override returns (address appId) {
        return
            _deployAndRegisterApp(
                AppSettings(
                    initialOwner,
                    disableUpgrades,
                    requireTcbUpToDate,
                    allowAnyDevice,
                    initialDeviceId,
                    initialComposeHash
                )
            );
    }

    /// @inheritdoc IKmsAuth
    function deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external override returns (address appId) {
        return
            _deployAndRegisterApp(
                AppSettings(initialOwner, disableUpgrades, false, allowAnyDevice, initialDeviceId, initialComposeHash)
            );
    }

    /// @inheritdoc IKmsAuthHardening
    function deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash,
        bytes32 salt
    ) external override returns (address appId) {
        bytes memory initCode = _appInitCode(
            AppSettings(initialOwner, disableUpgrades, requireTcbUpToDate, allowAnyDevice, initialDeviceId, initialComposeHash)
        );
        appId = Create2.computeAddress(salt, keccak256(initCode));
        if (appId.code.length != 0) revert AppAlreadyDeployed(appId);
        return _registerNewApp(Create2.deploy(0, salt, initCode));
    }

    /// @inheritdoc IKmsAuth
    function addKmsAggregatedMr(bytes32 mrAggregated) external override onlyOwner {
        if (!_list(kmsAllowedAggregatedMrs, KMS_AGGREGATED_MR, mrAggregated, true)) return;
        emit KmsAggregatedMrAdded(mrAggregated);
        emit PolicyChanged(msg.sender, KMS_AGGREGATED_MR, mrAggregated, true);
    }

    /// @inheritdoc IKmsAuth
    function removeKmsAggregatedMr(bytes32 mrAggregated) external override onlyOwner {
        if (!_list(kmsAllowedAggregatedMrs, KMS_AGGREGATED_MR, mrAggregated, false)) return;
        emit KmsAggregatedMrRemoved(mrAggregated);
        emit PolicyChanged(msg.sender, KMS_AGGREGATED_MR, mrAggregated, false);
    }

    /// @inheritdoc IKmsAuth
    function addKmsDevice(bytes32 deviceId) external override onlyOwner {
        if (!_list(kmsAllowedDeviceIds, KMS_DEVICE, deviceId, true)) return;
        emit KmsDeviceAdded(deviceId);
        emit PolicyChanged(msg.sender, KMS_DEVICE, deviceId, true);
    }

    /// @inheritdoc IKmsAuth
    function removeKmsDevice(bytes32 deviceId) external override onlyOwner {
        if (!_list(kmsAllowedDeviceIds, KMS_DEVICE, deviceId, false)) return;
        emit KmsDeviceRemoved(deviceId);
        emit PolicyChanged(msg.sender, KMS_DEVICE, deviceId, false);
    }

    /// @inheritdoc IKmsAuth
    function addOsImageHash(bytes32 osImageHash) external override onlyOwner {
        if (!_list(allowedOsImages, OS_IMAGE, osImageHash, true)) return;
        emit OsImageHashAdded(osImageHash);
        emit PolicyChanged(msg.sender, OS_IMAGE, osImageHash, true);
    }

    /// @inheritdoc IKmsAuth
    function removeOsImageHash(bytes32 osImageHash) external override onlyOwner {
        if (!_list(allowedOsImages, OS_IMAGE, osImageHash, false)) return;
        emit OsImageHashRemoved(osImageHash);
        emit PolicyChanged(msg.sender, OS_IMAGE, osImageHash, false);
    }

    /// @inheritdoc IKmsAuth
    function isKmsAllowed(AppBootInfo calldata bootInfo) external view override returns (bool isAllowed, string memory reason) {
        if (paused()) return (false, "KMS is paused");
        string memory tcbDenial = _tcbDenial(bootInfo.tcbStatus, bootInfo.advisoryIds);
        if (bytes(tcbDenial).length != 0) return (false, tcbDenial);
        if (!allowedOsImages[bootInfo.osImageHash]) return (false, "OS image is not allowed");
        if (!kmsAllowedAggregatedMrs[bootInfo.mrAggregated]) return (false, "Aggregated MR not allowed");
        if (!kmsAllowedDeviceIds[bootInfo.deviceId]) return (false, "KMS is not allowed to boot on this device");
        return (true, "");
    }

    /// @inheritdoc IAppAuth
    /// @dev Without bounded calls an app contract that reverts or answers malformed data makes this revert too: askers read that as an
    ///      error, not as a no.
    function isAppAllowed(AppBootInfo calldata bootInfo) external view override returns (bool isAllowed, string memory reason) {
        if (paused()) return (false, "KMS is paused");
        if (!registeredApps[bootInfo.appId]) return (false, "App not registered");
        if (suspendedApps(bootInfo.appId)) return (false, "App is suspended");
        if (!allowedOsImages[bootInfo.osImageHash]) return (false, "OS image is not allowed");
        if (bootInfo.appId.code.length == 0) return (false, "App not deployed or invalid address");
        return AppCall.isAppAllowed(bootInfo, _isOn(Switch.BoundedAppCalls));
    }

    /// @inheritdoc IKmsAuth
    function kmsInfo()
        external
        view
        override
        returns (bytes memory k256Pubkey, bytes memory caPubkey, bytes memory quote, bytes memory eventlog)
    {
        return (_kmsInfo.k256Pubkey, _kmsInfo.caPubkey, _evidence(KMS_QUOTE), _evidence(KMS_EVENTLOG));
    }

    /// @inheritdoc IKmsAuth
    function appAuthImplementation() external view override returns (address) {
        return appImplementation;
    }

    /// @inheritdoc IKmsAuthHardening
    function predictAppId(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash,
        bytes32 salt
    ) external view override returns (address appId) {
        bytes memory initCode = _appInitCode(
            AppSettings(initialOwner, disableUpgrades, requireTcbUpToDate, allowAnyDevice, initialDeviceId, initialComposeHash)
        );
        return Create2.computeAddress(salt, keccak256(initCode));
    }

    /// @inheritdoc IKmsAuthHardening
    function quoteVerifier() external view override returns (address) {
        return _storage().quoteVerifier;
    }

    /// @inheritdoc IKmsAuthHardening
    function suspendedApps(address appId) public view override returns (bool) {
        return _storage().suspendedApps[appId];
    }

    /// @inheritdoc ERC165Upgradeable
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return
            interfaceId == type(IAppAuth).interfaceId ||
            interfaceId == type(IKmsAuthHardening).interfaceId ||
            interfaceId == type(ITcbAcceptance).interfaceId ||
            super.supportsInterface(interfaceId);
    }

    /// @dev Tells who asked for which code before anything of that code runs.
    function _authorizeUpgrade(address newImplementation) internal override onlyOwner {
        emit PolicyChanged(msg.sender, IMPLEMENTATION_UPGRADE, _asBytes32(newImplementation), true);
    }

    /// @dev An implementation that was set before must be what the switches ask for.
    function _setHardening(uint256 newSwitches) internal override {
        super._setHardening(newSwitches);
        if (appImplementation != address(0)) _requireAppImplementation(appImplementation);
    }

    function _knownSwitches() internal pure override returns (uint256) {
        return ALL_SWITCHES;
    }

    function _deployAndRegisterApp(AppSettings memory settings) private returns (address appId) {
        bytes memory initCode = _appInitCode(settings);
        assembly ("memory-safe") {
            appId := create(0, add(initCode, 32), mload(initCode))
        }
        if (appId == address(0)) LowLevelCall.bubbleRevert();
        return _registerNewApp(appId);
    }

    /// @dev A proxy that initializes itself. The texts of both refusals are those of the deployed interface.
    function _appInitCode(AppSettings memory settings) private view returns (bytes memory) {
        require(appImplementation != address(0), "DstackApp implementation not set");
        require(settings.initialOwner != address(0), "Invalid owner address");
        bytes4 selector = _isOn(Switch.StrictApps) ? IAppAuthHardening.initializeStrict.selector : INITIALIZE_APP;
        // a struct of static members has the same encoding as the members in a row
        bytes memory initData = bytes.concat(selector, abi.encode(settings));
        return bytes.concat(type(ERC1967Proxy).creationCode, abi.encode(appImplementation, initData));
    }

    /// @dev The app exists, owned and configured, before its address is registered; the factory's event comes last.
    function _registerNewApp(address appId) private returns (address) {
        _registerApp(appId);
        emit AppDeployedViaFactory(appId, msg.sender);
        return appId;
    }

    function _registerApp(address appId) private {
        registeredApps[appId] = true;
        emit AppRegistered(appId);
        emit PolicyChanged(msg.sender, REGISTERED_APP, _asBytes32(appId), true);
    }

    function _setAppImplementation(address newImplementation) private {
        _requireAppImplementation(newImplementation);
        appImplementation = newImplementation;
        emit AppImplementationSet(newImplementation);
        emit PolicyChanged(msg.sender, APP_IMPLEMENTATION, _asBytes32(newImplementation), true);
    }

    /// @dev The switches that are on decide what is asked of it.
    function _requireAppImplementation(address implementation) private view {
        if (_isOn(Switch.CheckContracts)) {
            ContractChecks.requireCode(implementation);
            ContractChecks.requireProxiable(implementation);
            ContractChecks.requireInterface(implementation, type(IAppAuth).interfaceId);
        }
        if (_isOn(Switch.StrictApps)) {
            ContractChecks.requireInterface(implementation, type(IAppAuthHardening).interfaceId);
        }
    }

    function _setKeys(bytes calldata k256Pubkey, bytes calldata caPubkey) private returns (bool changed) {
        changed = keccak256(k256Pubkey) != keccak256(_kmsInfo.k256Pubkey) || keccak256(caPubkey) != keccak256(_kmsInfo.caPubkey);
        if (changed) (_kmsInfo.k256Pubkey, _kmsInfo.caPubkey) = (k256Pubkey, caPubkey);
    }

    /// @dev Unchecked, as the contracts already deployed have it: no event.
    function _setOneEvidence(bytes32 policy, bytes calldata data, bool isChecked) private {
        if (!_setEvidence(policy, data, isChecked) || !isChecked) return;
        _emitKmsEvidenceSet();
        emit PolicyChanged(msg.sender, policy, keccak256(data), true);
    }

    /// @dev Checked evidence is code; unchecked evidence is where an older implementation finds it.
    function _setEvidence(bytes32 policy, bytes calldata data, bool isChecked) private returns (bool changed) {
        if (isChecked) {
            if (data.length > CodeStorage.MAX_BYTES) revert LengthOutOfRange(policy, 0, CodeStorage.MAX_BYTES, data.length);
            if (keccak256(data) == keccak256(_evidence(policy))) return false;
        }
        address code = isChecked ? CodeStorage.write(data) : address(0);
        _storage().evidenceCode[policy] = code;
        bytes calldata stored = code == address(0) ? data : data[:0];
        if (policy == KMS_QUOTE) _kmsInfo.quote = stored;
        else _kmsInfo.eventlog = stored;
        return true;
    }

    function _emitKmsEvidenceSet() private {
        emit KmsEvidenceSet(
            keccak256(_kmsInfo.k256Pubkey),
            keccak256(_kmsInfo.caPubkey),
            keccak256(_evidence(KMS_QUOTE)),
            keccak256(_evidence(KMS_EVENTLOG))
        );
    }

    /// @dev Where both hold something, an older implementation wrote last: after a roll-back it knows the slots alone.
    function _evidence(bytes32 policy) private view returns (bytes memory data) {
        data = policy == KMS_QUOTE ? _kmsInfo.quote : _kmsInfo.eventlog;
        if (data.length == 0) data = CodeStorage.read(_storage().evidenceCode[policy]);
    }

    function _asBytes32(address account) private pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }

    function _storage() private pure returns (KmsAuthStorage storage $) {
        assembly {
            $.slot := KMS_AUTH_STORAGE
        }
    }
}
