// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AppAuth} from "../AppAuth.sol";
import {IAppAuth} from "../interfaces/IAppAuth.sol";
import {IHardening} from "../interfaces/IHardening.sol";
import {IRefusals} from "../interfaces/IRefusals.sol";
import {AnyCall} from "./AnyCall.sol";
import {TestBase} from "./TestBase.sol";

/// @title Properties of a strict app for all inputs, and of what is new in both modes
contract StrictAppTest is TestBase {
    uint256 private constant ALL = 3;
    string private constant SIX_ARGUMENTS = "(address,bool,bool,bool,bytes32,bytes32)";

    /// H4 for the strict form: it stores what it is given, and tells of it.
    function testFuzz_strictFormStoresAndTells(
        address owner,
        bool lock,
        bool tcb,
        bool anyDevice,
        bytes32 device,
        bytes32 hash
    ) public {
        VM.assume(owner != address(0));
        VM.recordLogs();
        AppAuth app = newApp(abi.encodeCall(AppAuth.initializeStrict, (owner, lock, tcb, anyDevice, device, hash)));
        uint256 logs = VM.getRecordedLogs().length;
        check(app.owner() == owner && app.hardening() == ALL, "owner and switches");
        check(app.upgradesDisabled() == lock && app.requireTcbUpToDate() == tcb, "lock and TCB rule");
        check(app.allowAnyDevice() == anyDevice && !app.policyFrozen(), "device rule");
        check(app.allowedDeviceIds(device) == (device != 0), "device");
        check(app.allowedComposeHashes(hash) == (hash != 0), "compose hash");
        // Upgraded, the switches and both flags, Ownable and Initialized, and what else there is to tell
        uint256 expected = 1 + 2 + 4 + 2 + (lock ? 2 : 0) + (device == 0 ? 0 : 2) + (hash == 0 ? 0 : 2);
        check(logs == expected, "logs");
    }

    /// H5 for all three forms: after one initialization all of them fail.
    function testFuzz_initializesOnce(
        uint256 form,
        uint256 again,
        address caller,
        address owner,
        bytes32 word,
        bool flag
    ) public {
        AppAuth app = newApp(_initData(form, address(this), word, flag));
        VM.prank(caller);
        (bool done, ) = address(app).call(_initData(again, owner, word, flag));
        check(!done, "initialized again");
        check(app.owner() == address(this), "owner");
        checkInitializedOnce(address(app));
    }

    /// Nobody initializes the code itself, in whatever form.
    function testFuzz_implementationIsNobodys(uint256 form, address caller, address owner, bytes32 word, bool flag) public {
        VM.prank(caller);
        (bool done, ) = address(appImplementation).call(_initData(form, owner, word, flag));
        check(!done && appImplementation.owner() == address(0), "owned implementation");
    }

    /// H1 for strict apps: once upgrades are disabled, no caller upgrades to anything.
    function testFuzz_disabledUpgradesStayDisabled(address caller, address next, bytes calldata data, bool atInit) public {
        AppAuth app = newApp(
            abi.encodeCall(AppAuth.initializeStrict, (address(this), atInit, false, false, bytes32(0), bytes32(0)))
        );
        if (!atInit) app.disableUpgrades();
        VM.expectRevert();
        VM.prank(caller);
        app.upgradeToAndCall(next, data);
        VM.expectRevert("Upgrades are permanently disabled");
        app.upgradeToAndCall(address(appImplementation), "");
        check(app.upgradesDisabled(), "lock");
    }

    function testFuzz_changesTellOnce(bytes32 word, bool flag) public {
        VM.assume(word != 0);
        address app = address(newStrictApp(!flag, !flag));
        checkQuietRepeat(app, abi.encodeCall(AppAuth.addComposeHash, (word)));
        checkQuietRepeat(app, abi.encodeCall(AppAuth.removeComposeHash, (word)));
        checkQuietRepeat(app, abi.encodeCall(AppAuth.addDevice, (word)));
        checkQuietRepeat(app, abi.encodeCall(AppAuth.removeDevice, (word)));
        checkQuietRepeat(app, abi.encodeCall(AppAuth.setAllowAnyDevice, (flag)));
        checkQuietRepeat(app, abi.encodeCall(AppAuth.setRequireTcbUpToDate, (flag)));
        checkQuietRepeat(app, abi.encodeCall(AppAuth.disableUpgrades, ()));
        checkQuietRepeat(app, abi.encodeCall(AppAuth.freezePolicy, ()));
    }

    /// The counterpart: in compatible mode each repeat of a deployed change tells again, as deployed indexers expect.
    function testFuzz_compatibleRepeatsTellAgain(bytes32 word, bool flag, uint256 which) public {
        AppAuth app = newApp(_initData(0, AnyCall.account(0), word, flag));
        VM.prank(AnyCall.account(0));
        app.transferOwnership(address(this));
        app.acceptOwnership();
        bytes memory data = AnyCall.ofApp(which % 7, word, flag, address(0));
        checkLogs(address(app), data, 2);
        checkLogs(address(app), data, 2);
    }

    function test_zeroIsNotListed() public {
        AppAuth app = newStrictApp(false, false);
        VM.expectRevert(abi.encodeWithSelector(IRefusals.ZeroHash.selector, keccak256("compose-hash")));
        app.addComposeHash(0);
        VM.expectRevert(abi.encodeWithSelector(IRefusals.ZeroHash.selector, keccak256("device")));
        app.addDevice(0);
        app.removeComposeHash(0);
        app.removeDevice(0);
    }

    /// A replacement leaves exactly the new document listed, or changes nothing: never both, never none.
    function testFuzz_replacingIsBothOrNothing(bool strict, bytes32[3] memory words, uint256 listed) public {
        AppAuth app = strict ? newStrictApp(false, true) : newApp(_initData(0, address(this), 0, true));
        for (uint256 i = 0; i < 3; ++i) words[i] = bytes32(uint256(words[i]) % 4);
        for (uint256 i = strict ? 1 : 0; i < 4; ++i) {
            if ((listed >> i) & 1 == 1) app.addComposeHash(bytes32(i));
        }
        for (uint256 i = 0; i < 2; ++i) {
            (bytes32 from, bytes32 to) = (words[i], words[i + 1]);
            (bool hadFrom, bool hadTo) = (app.allowedComposeHashes(from), app.allowedComposeHashes(to));
            uint256 before = _listed(app);
            (bool done, ) = address(app).call(abi.encodeCall(AppAuth.replaceComposeHash, (from, to)));
            check(done == (hadFrom && !hadTo && to != 0), "replaced");
            uint256 expected = done ? (before & ~(1 << uint256(from))) | (1 << uint256(to)) : before;
            check(_listed(app) == expected, "list");
        }
    }

    function testFuzz_replacingTellsBothChanges(bool strict, bytes32 from, bytes32 to) public {
        VM.assume(from != to && from != 0 && to != 0);
        AppAuth app = strict ? newStrictApp(false, true) : newApp(_initData(0, address(this), from, true));
        app.addComposeHash(from);
        checkLogs(address(app), abi.encodeCall(AppAuth.replaceComposeHash, (from, to)), 4);
    }

    /// Frozen is frozen: no call by anybody changes an answer, and none thaws, whatever the switches are.
    function testFuzz_frozenPolicyStays(
        address stranger,
        bool asOwner,
        bool strict,
        uint256[4] memory choices,
        bytes32 word
    ) public {
        AppAuth app = newApp(_initData(strict ? 2 : 0, AnyCall.account(0), "frozen", true));
        VM.prank(AnyCall.account(0));
        app.freezePolicy();
        bytes32 before = _policyOf(app, word);
        for (uint256 i = 0; i < choices.length; ++i) {
            bytes memory data = AnyCall.ofApp(
                choices[i] % AnyCall.APP_CALLS,
                word,
                choices[i] & 256 == 0,
                address(appImplementation)
            );
            VM.prank(asOwner ? app.owner() : stranger);
            (bool done, ) = address(app).call(data);
            check(app.policyFrozen(), done ? "thawed" : "thawed by a refused call");
            check(_policyOf(app, word) == before, "policy");
        }
    }

    function testFuzz_onlyTheOwnerFreezesAndReplaces(address caller, bytes32 from, bytes32 to) public {
        VM.assume(caller != address(this));
        AppAuth app = newStrictApp(false, true);
        bytes[] memory calls = new bytes[](3);
        calls[0] = abi.encodeCall(AppAuth.freezePolicy, ());
        calls[1] = abi.encodeCall(AppAuth.replaceComposeHash, (from, to));
        calls[2] = abi.encodeCall(IHardening.setHardening, (uint256(from)));
        for (uint256 i = 0; i < calls.length; ++i) {
            VM.expectRevert(abi.encodeWithSignature("OwnableUnauthorizedAccount(address)", caller));
            VM.prank(caller);
            (bool done, ) = address(app).call(calls[i]);
            done;
        }
    }

    function test_ownerStays() public {
        AppAuth app = newStrictApp(false, false);
        VM.expectRevert(abi.encodeWithSelector(IRefusals.OwnershipCannotBeRenounced.selector));
        app.renounceOwnership();
        app.setHardening(1);
        app.renounceOwnership();
        check(app.owner() == address(0), "owner");
    }

    function testFuzz_unknownSwitchesAreRefused(uint256 switches) public {
        AppAuth app = newStrictApp(false, false);
        if (switches > ALL) VM.expectRevert(abi.encodeWithSelector(IHardening.UnknownSwitches.selector, ALL, switches));
        app.setHardening(switches);
        check(app.hardening() == (switches > ALL ? ALL : switches), "switches");
    }

    /// The switches are about changes: no answer depends on them.
    function testFuzz_switchesChangeNoAnswer(
        IAppAuth.AppBootInfo calldata bootInfo,
        uint8 switches,
        bool tcb,
        bool anyDevice
    ) public {
        AppAuth app = newStrictApp(tcb, anyDevice);
        if (bootInfo.composeHash != 0) app.addComposeHash(bootInfo.composeHash);
        (bool isAllowed, string memory reason) = app.isAppAllowed(bootInfo);
        app.setHardening(switches % (ALL + 1));
        (bool after_, string memory afterReason) = app.isAppAllowed(bootInfo);
        check(isAllowed == after_ && keccak256(bytes(reason)) == keccak256(bytes(afterReason)), "answer");
    }

    function _initData(uint256 form, address owner, bytes32 word, bool flag) private pure returns (bytes memory) {
        if (form % 3 == 0) {
            return abi.encodeWithSignature("initialize(address,bool,bool,bytes32,bytes32)", owner, false, flag, word, word);
        }
        string memory name = form % 3 == 1 ? "initialize" : "initializeStrict";
        return abi.encodeWithSignature(string.concat(name, SIX_ARGUMENTS), owner, false, flag, flag, word, word);
    }

    function _listed(AppAuth app) private view returns (uint256 bits) {
        for (uint256 i = 0; i < 4; ++i) {
            if (app.allowedComposeHashes(bytes32(i))) bits |= 1 << i;
        }
    }

    /// All that answers come from, as far as calls with this word can reach it.
    function _policyOf(AppAuth app, bytes32 word) private view returns (bytes32) {
        bytes memory lists = abi.encode(
            app.allowedComposeHashes("frozen"),
            _listed(app),
            app.allowedDeviceIds("frozen"),
            app.allowedDeviceIds(AnyCall.listed(word))
        );
        string memory text = AnyCall.text(word);
        bytes memory rules = abi.encode(
            app.allowAnyDevice(),
            app.requireTcbUpToDate(),
            app.tcbStatusAcceptedUntil(text),
            app.acceptedAdvisories(text)
        );
        return keccak256(bytes.concat(lists, rules));
    }
}
