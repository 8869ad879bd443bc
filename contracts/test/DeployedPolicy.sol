// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IAppAuth} from "../interfaces/IAppAuth.sol";
import {IKmsAuth} from "../interfaces/IKmsAuth.sol";
import {DeployedAppAuth, DeployedKmsAuth} from "./DeployedLayout.sol";

/// @title The answers of the apps already deployed
/// @dev Without an owner: the tests of the webhook ask what these contracts answer, not who may change them.
contract DeployedAppPolicy is DeployedAppAuth, IAppAuth {
    constructor(bool requireTcb, bool anyDevice, bytes32 deviceId, bytes32 composeHash) {
        requireTcbUpToDate = requireTcb;
        allowAnyDevice = anyDevice;
        allowedDeviceIds[deviceId] = deviceId != 0;
        allowedComposeHashes[composeHash] = composeHash != 0;
    }

    function addComposeHash(bytes32 composeHash) external {
        allowedComposeHashes[composeHash] = true;
    }

    function removeComposeHash(bytes32 composeHash) external {
        allowedComposeHashes[composeHash] = false;
    }

    /// @inheritdoc IAppAuth
    function isAppAllowed(AppBootInfo calldata boot) external view returns (bool, string memory) {
        if (requireTcbUpToDate && !isUpToDate(boot.tcbStatus)) return (false, "TCB status is not up to date");
        if (!allowedComposeHashes[boot.composeHash]) return (false, "Compose hash not allowed");
        if (!allowAnyDevice && !allowedDeviceIds[boot.deviceId]) return (false, "Device not allowed");
        return (true, "");
    }
}

/// @title The answers of the trust domains already deployed
/// @dev Likewise without an owner. It has none of the gates that came with our contracts, and no function that tells so.
contract DeployedKmsPolicy is DeployedKmsAuth, IAppAuth {
    constructor(address implementation) {
        appImplementation = implementation;
    }

    function setKmsInfo(IKmsAuth.KmsInfo calldata info) external {
        kmsInfo = info;
    }

    function setGatewayAppId(string calldata id) external {
        gatewayAppId = id;
    }

    function registerApp(address appId) external {
        registeredApps[appId] = true;
    }

    function addKmsAggregatedMr(bytes32 mrAggregated) external {
        kmsAllowedAggregatedMrs[mrAggregated] = true;
    }

    function addKmsDevice(bytes32 deviceId) external {
        kmsAllowedDeviceIds[deviceId] = true;
    }

    function removeKmsDevice(bytes32 deviceId) external {
        kmsAllowedDeviceIds[deviceId] = false;
    }

    function addOsImageHash(bytes32 osImageHash) external {
        allowedOsImages[osImageHash] = true;
    }

    function removeOsImageHash(bytes32 osImageHash) external {
        allowedOsImages[osImageHash] = false;
    }

    function isKmsAllowed(AppBootInfo calldata boot) external view returns (bool, string memory) {
        if (!isUpToDate(boot.tcbStatus)) return (false, "TCB status is not up to date");
        if (!allowedOsImages[boot.osImageHash]) return (false, "OS image is not allowed");
        if (!kmsAllowedAggregatedMrs[boot.mrAggregated]) return (false, "Aggregated MR not allowed");
        if (!kmsAllowedDeviceIds[boot.deviceId]) return (false, "KMS is not allowed to boot on this device");
        return (true, "");
    }

    /// @inheritdoc IAppAuth
    function isAppAllowed(AppBootInfo calldata boot) external view returns (bool, string memory) {
        if (!registeredApps[boot.appId]) return (false, "App not registered");
        if (!allowedOsImages[boot.osImageHash]) return (false, "OS image is not allowed");
        if (boot.appId.code.length == 0) return (false, "App not deployed or invalid address");
        return IAppAuth(boot.appId).isAppAllowed(boot);
    }
}

function isUpToDate(string calldata tcbStatus) pure returns (bool) {
    return keccak256(bytes(tcbStatus)) == keccak256("UpToDate");
}
