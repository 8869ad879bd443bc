// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AppAuth} from "../AppAuth.sol";
import {AnyCall} from "./AnyCall.sol";
import {OwnershipModel} from "./OwnershipModel.sol";
import {TestBase} from "./TestBase.sol";

/// @title Anybody's calls of one app, and what they must have led to
contract AppCaller is OwnershipModel {
    AppAuth public immutable APP;
    address private immutable _NEXT;

    bool public isLocked;
    bool public isFrozen;
    bool public upgradedWhileLocked;
    bool public changedWhileFrozen;
    bool public initializedAgain;

    constructor(AppAuth app, address next) {
        APP = app;
        _NEXT = next;
        switches = app.hardening();
    }

    function act(uint256 caller, uint256 choice, bytes32 word, bool flag) external {
        bytes memory data = AnyCall.ofApp(choice % AnyCall.APP_CALLS, word, flag, _NEXT);
        if (_isSkipped(data, word)) return;
        bytes4 selector = bytes4(data);
        (bool done, ) = _call(address(APP), _caller(caller, selector), data, choice / AnyCall.APP_CALLS);
        if (!done) return;
        _followOwnership(data);
        if (selector == AppAuth.disableUpgrades.selector) isLocked = true;
        if (selector == bytes4(keccak256("upgradeToAndCall(address,bytes)")) && isLocked) upgradedWhileLocked = true;
        if (_isInitializer(selector)) initializedAgain = true;
        if (isFrozen && _isPolicy(selector)) changedWhileFrozen = true;
        if (selector == AppAuth.freezePolicy.selector) isFrozen = true;
    }

    function _isPolicy(bytes4 selector) private pure returns (bool) {
        return
            selector == AppAuth.addComposeHash.selector ||
            selector == AppAuth.removeComposeHash.selector ||
            selector == AppAuth.replaceComposeHash.selector ||
            selector == AppAuth.addDevice.selector ||
            selector == AppAuth.removeDevice.selector ||
            selector == AppAuth.setAllowAnyDevice.selector ||
            selector == AppAuth.setRequireTcbUpToDate.selector ||
            selector == bytes4(keccak256("acceptTcbStatus(string,uint64)")) ||
            selector == bytes4(keccak256("withdrawTcbStatus(string)")) ||
            selector == bytes4(keccak256("acceptAdvisory(string)")) ||
            selector == bytes4(keccak256("withdrawAdvisory(string)"));
    }
}

/// @title What no sequence of calls to an app can break, in compatible mode and whatever the switches become
contract AppAuthInvariantsTest is TestBase {
    AppCaller internal caller;

    function setUp() public virtual override {
        super.setUp();
        caller = new AppCaller(newApp(_initData(false)), address(new AppAuth()));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(caller);
    }

    /// INV-1: the lock on upgrades is never undone, and holds.
    function invariant_lockStays() external view {
        check(caller.APP().upgradesDisabled() == caller.isLocked(), "lock");
        check(!caller.upgradedWhileLocked(), "upgrade of a locked app");
    }

    /// INV-2: ownership moves by the two-step transfer or by renouncing, and only an owner changes anything.
    function invariant_ownershipMovesInTwoSteps() external view {
        check(caller.APP().owner() == caller.owner(), "owner");
        check(caller.APP().pendingOwner() == caller.pendingOwner(), "pending owner");
        check(!caller.unownedChange(), "change of a stranger");
        check(!caller.renouncedWhileKept(), "renounced");
        check(caller.APP().hardening() == caller.switches(), "switches");
    }

    /// INV-3: initialized once.
    function invariant_initializedOnce() external view {
        check(!caller.initializedAgain(), "initialized again");
        checkInitializedOnce(address(caller.APP()));
    }

    /// INV-6: the slots kept for later are zero.
    function invariant_gapIsZero() external view {
        checkZero(address(caller.APP()), 4, 52);
    }

    function invariant_frozenPolicyStays() external view {
        check(caller.APP().policyFrozen() == caller.isFrozen(), "frozen");
        check(!caller.changedWhileFrozen(), "change of a frozen policy");
    }

    /// H2: no call whatever, by whomever, undoes the lock.
    function testFuzz_noCallUnlocks(address stranger, bool asOwner, uint256 which, bytes32 word, bool flag, bool atInit) public {
        AppAuth app = newApp(_initData(atInit));
        VM.prank(AnyCall.account(0));
        if (!atInit) app.disableUpgrades();
        else app.addDevice("device");
        bytes memory data = AnyCall.ofApp(which % AnyCall.APP_CALLS, word, flag, address(appImplementation));
        VM.prank(asOwner ? AnyCall.account(0) : stranger);
        (bool done, ) = address(app).call(data);
        check(_isLocked(app) && app.upgradesDisabled(), done ? "lock after a call" : "lock after a refused call");
    }

    function _initData(bool lock) internal pure virtual returns (bytes memory) {
        return
            abi.encodeWithSignature(
                "initialize(address,bool,bool,bytes32,bytes32)",
                AnyCall.account(0),
                lock,
                false,
                bytes32(0),
                bytes32(0)
            );
    }

    /// Where the deployed contracts, which have no getter for it, keep the lock: the lowest byte of slot 1.
    function _isLocked(AppAuth app) private view returns (bool) {
        return uint8(uint256(VM.load(address(app), bytes32(uint256(1))))) == 1;
    }
}

/// @title The same of an app that begins strict
contract StrictAppAuthInvariantsTest is AppAuthInvariantsTest {
    function _initData(bool lock) internal pure override returns (bytes memory) {
        return abi.encodeCall(AppAuth.initializeStrict, (AnyCall.account(0), lock, false, false, bytes32(0), bytes32(0)));
    }
}
