// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable2StepUpgradeable} from "@openzeppelin/contracts-upgradeable/access/Ownable2StepUpgradeable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {IKmsAuth} from "../interfaces/IKmsAuth.sol";

/// @title Bases of the contracts already deployed
/// @dev Never deployed: these contracts are what the upgrade validator compares the storage of ours with.
abstract contract DeployedBases is Ownable2StepUpgradeable, UUPSUpgradeable {
    function _authorizeUpgrade(address) internal override onlyOwner {}
}

/// @title Storage of the trust domains already deployed
contract DeployedKmsAuth is DeployedBases {
    IKmsAuth.KmsInfo public kmsInfo;
    /// @custom:oz-renamed-from tproxyAppId
    string public gatewayAppId;
    mapping(address => bool) public registeredApps;
    mapping(bytes32 => bool) public kmsAllowedAggregatedMrs;
    mapping(bytes32 => bool) public kmsAllowedDeviceIds;
    mapping(bytes32 => bool) public allowedOsImages;
    address public appImplementation;
    uint256[50] private __gap;
}

/// @title Storage of the apps already deployed
contract DeployedAppAuth is DeployedBases {
    mapping(bytes32 => bool) public allowedComposeHashes;
    bool private _upgradesDisabled;
    bool public allowAnyDevice;
    mapping(bytes32 => bool) public allowedDeviceIds;
    bool public requireTcbUpToDate;
    uint256[49] private __gap;
}

/// @title Storage of the apps deployed before February 2026
contract DeployedOlderAppAuth is DeployedBases {
    mapping(bytes32 => bool) public allowedComposeHashes;
    bool private _upgradesDisabled;
    bool public allowAnyDevice;
    mapping(bytes32 => bool) public allowedDeviceIds;
    uint256[50] private __gap;
}
