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
    bool public upgradedWhileLocked;
    bool public initializedAgain;

    constructor(AppAuth app, address next) {
        APP = app;
        _NEXT = next;
    }

    function act(uint256 caller, uint256 choice, bytes32 word, bool flag) external {
        uint256 which = choice % AnyCall.APP_CALLS;
        bytes memory data = AnyCall.ofApp(which, word, flag, _NEXT);
        if (_isSkipped(data, word)) return;
        (bool done, ) = _call(address(APP), _caller(caller, bytes4(data)), data);
        if (!done) return;
        _followOwnership(data, word);
        if (which == 6) isLocked = true;
        if (which == 7 && isLocked) upgradedWhileLocked = true;
        if (which > 10) initializedAgain = true;
    }
}

/// @title What no sequence of calls to an app can break
contract AppAuthInvariantsTest is TestBase {
    AppCaller private _caller;

    function setUp() public override {
        super.setUp();
        AppAuth app = newApp(_initData(false));
        _caller = new AppCaller(app, address(new AppAuth()));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_caller);
    }

    /// INV-1: the lock on upgrades is never undone, and holds.
    function invariant_lockStays() external view {
        check(_isLocked(_caller.APP()) == _caller.isLocked(), "lock");
        check(!_caller.upgradedWhileLocked(), "upgrade of a locked app");
    }

    /// INV-2: ownership moves by the two-step transfer or by renouncing.
    function invariant_ownershipMovesInTwoSteps() external view {
        check(_caller.APP().owner() == _caller.owner(), "owner");
        check(_caller.APP().pendingOwner() == _caller.pendingOwner(), "pending owner");
    }

    /// INV-3: initialized once.
    function invariant_initializedOnce() external view {
        check(!_caller.initializedAgain(), "initialized again");
        checkInitializedOnce(address(_caller.APP()));
    }

    /// INV-6: the slots kept for later are zero.
    function invariant_gapIsZero() external view {
        checkZero(address(_caller.APP()), 4, 52);
    }

    /// H2: no call whatever, by whomever, undoes the lock.
    function testFuzz_noCallUnlocks(address stranger, bool asOwner, uint256 which, bytes32 word, bool flag, bool atInit) public {
        AppAuth app = newApp(_initData(atInit));
        VM.prank(AnyCall.account(0));
        if (!atInit) app.disableUpgrades();
        else app.addDevice(word);
        bytes memory data = AnyCall.ofApp(which % AnyCall.APP_CALLS, word, flag, address(appImplementation));
        VM.prank(asOwner ? AnyCall.account(0) : stranger);
        (bool done, ) = address(app).call(data);
        check(_isLocked(app), done ? "lock after a call" : "lock after a refused call");
    }

    function _initData(bool lock) private pure returns (bytes memory) {
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

    /// The lock has no getter: it is the lowest byte of slot 1.
    function _isLocked(AppAuth app) private view returns (bool) {
        return uint8(uint256(VM.load(address(app), bytes32(uint256(1))))) == 1;
    }
}
