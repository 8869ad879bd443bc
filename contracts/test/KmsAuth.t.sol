// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AppAuth} from "../AppAuth.sol";
import {IAppAuth} from "../interfaces/IAppAuth.sol";
import {TestBase} from "./TestBase.sol";

/// @title Properties of a trust domain in compatible mode for all inputs
contract KmsAuthTest is TestBase {
    /// H6 and H7, in compatible mode: any caller registers any app id but zero.
    function testFuzz_anyoneRegisters(address caller, address appId) public {
        VM.assume(appId != address(0));
        VM.prank(caller);
        kms.registerApp(appId);
        check(kms.registeredApps(appId), "registered");
        VM.expectRevert("Invalid app ID");
        VM.prank(caller);
        kms.registerApp(address(0));
    }

    /// H8 and H9: registration and image are asked before anything else.
    function testFuzz_appGatesComeInOrder(IAppAuth.AppBootInfo calldata bootInfo) public {
        VM.assume(bootInfo.appId != address(0));
        (bool isAllowed, string memory reason) = kms.isAppAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "App not registered");
        kms.registerApp(bootInfo.appId);
        (isAllowed, reason) = kms.isAppAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "OS image is not allowed");
    }

    /// H12 and H13: the gates of the KMS itself come in their order.
    function testFuzz_kmsGatesComeInOrder(IAppAuth.AppBootInfo memory bootInfo) public {
        bootInfo.tcbStatus = "UpToDate";
        (bool isAllowed, string memory reason) = kms.isKmsAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "OS image is not allowed");
        kms.addOsImageHash(bootInfo.osImageHash);
        (isAllowed, reason) = kms.isKmsAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "Aggregated MR not allowed");
        kms.addKmsAggregatedMr(bootInfo.mrAggregated);
        (isAllowed, reason) = kms.isKmsAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "KMS is not allowed to boot on this device");
        kms.addKmsDevice(bootInfo.deviceId);
        (isAllowed, reason) = kms.isKmsAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "");
    }

    /// H14: the factory stores what it was given and lists what is not zero.
    function testFuzz_factoryStoresItsArguments(address owner, bool tcb, bool anyDevice, bytes32 device, bytes32 hash) public {
        VM.assume(owner != address(0));
        AppAuth app = AppAuth(kms.deployAndRegisterApp(owner, false, tcb, anyDevice, device, hash));
        check(kms.registeredApps(address(app)), "registered");
        check(app.owner() == owner, "owner");
        check(app.requireTcbUpToDate() == tcb, "TCB rule");
        check(app.allowAnyDevice() == anyDevice, "any device");
        check(app.allowedDeviceIds(device) == (device != 0), "device");
        check(app.allowedComposeHashes(hash) == (hash != 0), "compose hash");
    }

    /// H15: the older form of the factory leaves the TCB rule off.
    function testFuzz_olderFactoryLeavesTcbRuleOff(address owner, bool anyDevice, bytes32 device, bytes32 hash) public {
        VM.assume(owner != address(0));
        AppAuth app = AppAuth(kms.deployAndRegisterApp(owner, false, anyDevice, device, hash));
        check(!app.requireTcbUpToDate(), "TCB rule");
        check(app.allowedDeviceIds(device) == (device != 0), "device");
        check(app.allowedComposeHashes(hash) == (hash != 0), "compose hash");
    }
}
