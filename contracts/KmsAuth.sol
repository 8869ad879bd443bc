// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable2StepUpgradeable} from "@openzeppelin/contracts-upgradeable/access/Ownable2StepUpgradeable.sol";
import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {ERC165Upgradeable} from "@openzeppelin/contracts-upgradeable/utils/introspection/ERC165Upgradeable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {IAppAuth} from "./interfaces/IAppAuth.sol";
import {IKmsAuth} from "./interfaces/IKmsAuth.sol";

/// @title Governance of one KMS trust domain
/// @notice Answers which machines may hold the root keys, and passes questions about an app on to the app's own contract.
/// @dev Storage is that of the contracts already deployed: a new variable takes a slot from the gap, and its zero value must keep
///      the old behaviour.
contract KmsAuth is Initializable, Ownable2StepUpgradeable, UUPSUpgradeable, ERC165Upgradeable, IKmsAuth {
    bytes32 private constant KMS_AGGREGATED_MR = keccak256("kms-aggregated-mr");
    bytes32 private constant KMS_DEVICE = keccak256("kms-device");
    bytes32 private constant OS_IMAGE = keccak256("os-image");
    bytes32 private constant GATEWAY_APP_ID = keccak256("gateway-app-id");
    bytes32 private constant REGISTERED_APP = keccak256("registered-app");
    bytes32 private constant APP_IMPLEMENTATION = keccak256("app-implementation");
    bytes32 private constant KMS_INFO = keccak256("kms-info");
    bytes32 private constant IMPLEMENTATION_UPGRADE = keccak256("implementation-upgrade");
    bytes32 private constant TCB_UP_TO_DATE = keccak256("UpToDate");

    /// @dev The 6-argument form of the app's `initialize`, spelled out because the name is overloaded.
    bytes4 private constant INITIALIZE_APP = bytes4(keccak256("initialize(address,bool,bool,bool,bytes32,bytes32)"));

    /// @inheritdoc IKmsAuth
    KmsInfo public override kmsInfo;

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

    /// @dev Slots 10 to 59 are kept for later versions.
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

    /// @inheritdoc IKmsAuth
    function setKmsInfo(KmsInfo calldata info) external override onlyOwner {
        kmsInfo = info;
        emit KmsInfoSet(info.k256Pubkey);
        emit PolicyChanged(msg.sender, KMS_INFO, keccak256(info.k256Pubkey), true);
    }

    /// @inheritdoc IKmsAuth
    function setKmsQuote(bytes calldata quote) external override onlyOwner {
        kmsInfo.quote = quote;
    }

    /// @inheritdoc IKmsAuth
    function setKmsEventlog(bytes calldata eventlog) external override onlyOwner {
        kmsInfo.eventlog = eventlog;
    }

    /// @inheritdoc IKmsAuth
    function setGatewayAppId(string calldata newGatewayAppId) external override onlyOwner {
        gatewayAppId = newGatewayAppId;
        emit GatewayAppIdSet(newGatewayAppId);
        emit PolicyChanged(msg.sender, GATEWAY_APP_ID, keccak256(bytes(newGatewayAppId)), true);
    }

    /// @inheritdoc IKmsAuth
    function registerApp(address appId) external override {
        require(appId != address(0), "Invalid app ID");
        _registerApp(appId);
    }

    /// @inheritdoc IKmsAuth
    function setAppImplementation(address newImplementation) external override onlyOwner {
        require(newImplementation != address(0), "Invalid implementation address");
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
                initialOwner,
                disableUpgrades,
                requireTcbUpToDate,
                allowAnyDevice,
                initialDeviceId,
                initialComposeHash
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
        return _deployAndRegisterApp(initialOwner, disableUpgrades, false, allowAnyDevice, initialDeviceId, initialComposeHash);
    }

    /// @inheritdoc IKmsAuth
    function addKmsAggregatedMr(bytes32 mrAggregated) external override onlyOwner {
        kmsAllowedAggregatedMrs[mrAggregated] = true;
        emit KmsAggregatedMrAdded(mrAggregated);
        emit PolicyChanged(msg.sender, KMS_AGGREGATED_MR, mrAggregated, true);
    }

    /// @inheritdoc IKmsAuth
    function removeKmsAggregatedMr(bytes32 mrAggregated) external override onlyOwner {
        kmsAllowedAggregatedMrs[mrAggregated] = false;
        emit KmsAggregatedMrRemoved(mrAggregated);
        emit PolicyChanged(msg.sender, KMS_AGGREGATED_MR, mrAggregated, false);
    }

    /// @inheritdoc IKmsAuth
    function addKmsDevice(bytes32 deviceId) external override onlyOwner {
        kmsAllowedDeviceIds[deviceId] = true;
        emit KmsDeviceAdded(deviceId);
        emit PolicyChanged(msg.sender, KMS_DEVICE, deviceId, true);
    }

    /// @inheritdoc IKmsAuth
    function removeKmsDevice(bytes32 deviceId) external override onlyOwner {
        kmsAllowedDeviceIds[deviceId] = false;
        emit KmsDeviceRemoved(deviceId);
        emit PolicyChanged(msg.sender, KMS_DEVICE, deviceId, false);
    }

    /// @inheritdoc IKmsAuth
    function addOsImageHash(bytes32 osImageHash) external override onlyOwner {
        allowedOsImages[osImageHash] = true;
        emit OsImageHashAdded(osImageHash);
        emit PolicyChanged(msg.sender, OS_IMAGE, osImageHash, true);
    }

    /// @inheritdoc IKmsAuth
    function removeOsImageHash(bytes32 osImageHash) external override onlyOwner {
        allowedOsImages[osImageHash] = false;
        emit OsImageHashRemoved(osImageHash);
        emit PolicyChanged(msg.sender, OS_IMAGE, osImageHash, false);
    }

    /// @inheritdoc IKmsAuth
    function isKmsAllowed(AppBootInfo calldata bootInfo) external view override returns (bool isAllowed, string memory reason) {
        if (keccak256(bytes(bootInfo.tcbStatus)) != TCB_UP_TO_DATE) {
            return (false, "TCB status is not up to date");
        }
        if (!allowedOsImages[bootInfo.osImageHash]) {
            return (false, "OS image is not allowed");
        }
        if (!kmsAllowedAggregatedMrs[bootInfo.mrAggregated]) {
            return (false, "Aggregated MR not allowed");
        }
        if (!kmsAllowedDeviceIds[bootInfo.deviceId]) {
            return (false, "KMS is not allowed to boot on this device");
        }
        return (true, "");
    }

    /// @inheritdoc IAppAuth
    /// @dev An app contract that reverts or answers malformed data makes this revert too: askers read that as an error, not as a no.
    function isAppAllowed(AppBootInfo calldata bootInfo) external view override returns (bool isAllowed, string memory reason) {
        if (!registeredApps[bootInfo.appId]) {
            return (false, "App not registered");
        }
        if (!allowedOsImages[bootInfo.osImageHash]) {
            return (false, "OS image is not allowed");
        }
        if (bootInfo.appId.code.length == 0) {
            return (false, "App not deployed or invalid address");
        }
        return IAppAuth(bootInfo.appId).isAppAllowed(bootInfo);
    }

    /// @inheritdoc IKmsAuth
    function appAuthImplementation() external view override returns (address) {
        return appImplementation;
    }

    /// @inheritdoc ERC165Upgradeable
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IAppAuth).interfaceId || super.supportsInterface(interfaceId);
    }

    /// @dev Tells who asked for which code before anything of that code runs.
    function _authorizeUpgrade(address newImplementation) internal override onlyOwner {
        emit PolicyChanged(msg.sender, IMPLEMENTATION_UPGRADE, _asBytes32(newImplementation), true);
    }

    /// @dev The app exists, owned and configured, before its address is registered; the factory's event comes last.
    function _deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) private returns (address appId) {
        require(appImplementation != address(0), "DstackApp implementation not set");
        require(initialOwner != address(0), "Invalid owner address");
        bytes memory initData = abi.encodeWithSelector(
            INITIALIZE_APP,
            initialOwner,
            disableUpgrades,
            requireTcbUpToDate,
            allowAnyDevice,
            initialDeviceId,
            initialComposeHash
        );
        appId = address(new ERC1967Proxy(appImplementation, initData));
        _registerApp(appId);
        emit AppDeployedViaFactory(appId, msg.sender);
    }

    function _registerApp(address appId) private {
        registeredApps[appId] = true;
        emit AppRegistered(appId);
        emit PolicyChanged(msg.sender, REGISTERED_APP, _asBytes32(appId), true);
    }

    function _setAppImplementation(address newImplementation) private {
        appImplementation = newImplementation;
        emit AppImplementationSet(newImplementation);
        emit PolicyChanged(msg.sender, APP_IMPLEMENTATION, _asBytes32(newImplementation), true);
    }

    function _asBytes32(address account) private pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }
}
