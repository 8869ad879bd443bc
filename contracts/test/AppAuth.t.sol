// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {AppAuth} from "../AppAuth.sol";
import {TestBase} from "./TestBase.sol";

/// @title Properties of an app for all inputs
contract AppAuthTest is TestBase {
    string private constant OLDER_FORM = "initialize(address,bool,bool,bytes32,bytes32)";
    string private constant NEWER_FORM = "initialize(address,bool,bool,bool,bytes32,bytes32)";

    /// H1: once upgrades are disabled, no caller upgrades to anything.
    function testFuzz_disabledUpgradesStayDisabled(address caller, address next, bytes calldata data) public {
        AppAuth app = newApp(abi.encodeWithSignature(OLDER_FORM, address(this), true, false, bytes32(0), bytes32(0)));
        VM.expectRevert();
        VM.prank(caller);
        app.upgradeToAndCall(next, data);
        VM.expectRevert("Upgrades are permanently disabled");
        UUPSUpgradeable(address(app)).upgradeToAndCall(address(appImplementation), "");
    }

    /// H3: the older form leaves the TCB rule off.
    function testFuzz_olderFormLeavesTcbRuleOff(address owner, bool lock, bool anyDevice, bytes32 device, bytes32 hash) public {
        VM.assume(owner != address(0));
        AppAuth app = newApp(abi.encodeWithSignature(OLDER_FORM, owner, lock, anyDevice, device, hash));
        check(!app.requireTcbUpToDate(), "TCB rule");
        check(app.owner() == owner, "owner");
        check(app.allowAnyDevice() == anyDevice, "any device");
    }

    /// H4: the newer form stores exactly the given TCB rule, and lists what is not zero.
    function testFuzz_newerFormStoresTcbRule(address owner, bool tcb, bool anyDevice, bytes32 device, bytes32 hash) public {
        VM.assume(owner != address(0));
        AppAuth app = newApp(abi.encodeWithSignature(NEWER_FORM, owner, false, tcb, anyDevice, device, hash));
        check(app.requireTcbUpToDate() == tcb, "TCB rule");
        check(app.allowedDeviceIds(device) == (device != 0), "device");
        check(app.allowedComposeHashes(hash) == (hash != 0), "compose hash");
    }

    /// H5: after one initialization both forms fail.
    function testFuzz_initializesOnce(bool newer, address caller, address owner, bool a, bool b, bytes32 c, bytes32 d) public {
        AppAuth app =
            newer
                ? newApp(abi.encodeWithSignature(NEWER_FORM, address(this), a, b, a, c, d))
                : newApp(abi.encodeWithSignature(OLDER_FORM, address(this), a, b, c, d));
        VM.expectRevert();
        VM.prank(caller);
        app.initialize(owner, a, b, c, d);
        VM.expectRevert();
        VM.prank(caller);
        app.initialize(owner, a, b, b, c, d);
        check(app.owner() == address(this), "owner");
    }
}
