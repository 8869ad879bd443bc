// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {IKmsAuth} from "../interfaces/IKmsAuth.sol";

/// @title Bases of the contracts that were deployed before ours
/// @dev Ownership moves in one step, and nothing locks the implementation's initializers.
abstract contract OlderBases is OwnableUpgradeable, UUPSUpgradeable {
    function initialize(address initialOwner) external initializer {
        __Ownable_init(initialOwner);
    }

    function _authorizeUpgrade(address) internal override onlyOwner {}
}

/// @title A trust domain of January 2025: no proxy
contract KmsOfJanuary2025 {
    address public owner;
    mapping(address app => address controller) public apps;
}

/// @title A trust domain of February to March 2025
contract KmsOfFebruary2025 is OlderBases {
    IKmsAuth.KmsInfo public kmsInfo;
    string public tproxyAppId;
    mapping(address app => address controller) public apps;
    mapping(bytes32 mrAggregated => bool) public kmsAllowedAggregatedMrs;
    mapping(bytes32 deviceId => bool) public kmsAllowedDeviceIds;
    mapping(bytes32 imageMr => bool) public allowedImages;
    mapping(bytes32 systemMr => bool) public allowedSystemMrs;
    mapping(address account => uint256) public nextAppSequence;
}

/// @title A trust domain of May 2025, with a factory; the sequence is asked where the registry has gone already
contract KmsOfMay2025 is OlderBases {
    IKmsAuth.KmsInfo public kmsInfo;
    string public gatewayAppId;
    mapping(bytes32 mrAggregated => bool) public kmsAllowedAggregatedMrs;
    mapping(bytes32 deviceId => bool) public kmsAllowedDeviceIds;
    mapping(bytes32 osImageHash => bool) public allowedOsImages;
    mapping(address account => uint256) public nextAppSequence;
    address public appAuthImplementation;
}

/// @title A trust domain of 2 July 2025: one day without a registry of apps
contract KmsOfJuly2nd2025 is OlderBases {
    IKmsAuth.KmsInfo public kmsInfo;
    string public gatewayAppId;
    mapping(bytes32 mrAggregated => bool) public kmsAllowedAggregatedMrs;
    mapping(bytes32 deviceId => bool) public kmsAllowedDeviceIds;
    mapping(bytes32 osImageHash => bool) public allowedOsImages;
    address public appAuthImplementation;
}

/// @title A trust domain from 3 July 2025 on: today's slots under an older name
contract KmsOfJuly3rd2025 is OlderBases {
    IKmsAuth.KmsInfo public kmsInfo;
    string public gatewayAppId;
    mapping(address app => bool) public registeredApps;
    mapping(bytes32 mrAggregated => bool) public kmsAllowedAggregatedMrs;
    mapping(bytes32 deviceId => bool) public kmsAllowedDeviceIds;
    mapping(bytes32 osImageHash => bool) public allowedOsImages;
    address public appAuthImplementation;
}

/// @title Today's getters over slots that are one further on
contract ShiftedKms is OlderBases {
    uint256 private _first;
    IKmsAuth.KmsInfo public kmsInfo;
    string public gatewayAppId;
    mapping(address app => bool) public registeredApps;
    mapping(bytes32 mrAggregated => bool) public kmsAllowedAggregatedMrs;
    mapping(bytes32 deviceId => bool) public kmsAllowedDeviceIds;
    mapping(bytes32 osImageHash => bool) public allowedOsImages;
    address public appImplementation;

    /// @custom:oz-upgrades-unsafe-allow constructor
    constructor() {
        _disableInitializers();
    }
}

/// @title An app from before July 2025: it keeps its id
contract AppOfFebruary2025 is OlderBases {
    address public appId;
    mapping(bytes32 composeHash => bool) public allowedComposeHashes;
    bool public upgradesDisabled;
    bool public allowAnyDevice;
    mapping(bytes32 deviceId => bool) public allowedDeviceIds;
}

/// @title An app from July 2025 to February 2026: today's slots without the TCB rule
contract AppOfJuly2025 is OlderBases {
    mapping(bytes32 composeHash => bool) public allowedComposeHashes;
    bool private _upgradesDisabled;
    bool public allowAnyDevice;
    mapping(bytes32 deviceId => bool) public allowedDeviceIds;
}
