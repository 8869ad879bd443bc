// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IAppAuth} from "../interfaces/IAppAuth.sol";
import {AnsweringApp, BurningApp, RawApp, WritingApp} from "./AppMocks.sol";
import {TestBase} from "./TestBase.sol";

/// @title What a trust domain in compatible mode answers about app contracts of any behaviour
/// @dev An app that does not answer makes the question revert, and never reads as a yes.
contract HostileAppsTest is TestBase {
    uint256 private constant QUESTION_GAS = 30_000_000;
    uint256 private constant HUGE = 100 * 1024;

    /// H10: behind both gates the app's answer goes out verbatim.
    function testFuzz_answerIsTheAppsAnswer(IAppAuth.AppBootInfo memory bootInfo, bool isAllowed, string memory reason) public {
        (bool outer, string memory outerReason) = kms.isAppAllowed(
            _admitted(bootInfo, address(new AnsweringApp(isAllowed, reason)))
        );
        check(outer == isAllowed, "answer");
        check(keccak256(bytes(outerReason)) == keccak256(bytes(reason)), "reason");
    }

    /// H11, in compatible mode: an app that reverts, with whatever data, makes the question revert with the same data.
    function testFuzz_revertGoesOut(IAppAuth.AppBootInfo memory bootInfo, bytes memory data) public {
        (bool answered, bytes memory returned) = _ask(_admitted(bootInfo, address(new RawApp(true, data))));
        check(!answered, "answered");
        check(keccak256(returned) == keccak256(data), "revert data");
    }

    function test_burntGasIsNoAnswer() public {
        IAppAuth.AppBootInfo memory bootInfo;
        (bool answered, ) = _ask(_admitted(bootInfo, address(new BurningApp())));
        check(!answered, "answered");
    }

    /// Less than a flag, an offset and a length cannot be an answer.
    function testFuzz_shortDataIsNoAnswer(IAppAuth.AppBootInfo memory bootInfo, uint8 length) public {
        bytes memory whole = abi.encode(true, "");
        bytes memory short = new bytes(length % whole.length);
        for (uint256 i = 0; i < short.length; ++i) short[i] = whole[i];
        (bool answered, ) = _ask(_admitted(bootInfo, address(new RawApp(false, short))));
        check(!answered, "answered");
    }

    /// A flag is 0 or 1, never another word.
    function testFuzz_otherFlagIsNoAnswer(uint256 flag) public {
        VM.assume(flag > 1);
        IAppAuth.AppBootInfo memory bootInfo;
        (bool answered, ) = _ask(_admitted(bootInfo, address(new RawApp(false, abi.encode(flag, "")))));
        check(!answered, "answered");
    }

    function test_hugeReasonGoesOutWhole() public {
        IAppAuth.AppBootInfo memory bootInfo;
        bytes memory answer = abi.encode(false, string(new bytes(HUGE)));
        (bool isAllowed, string memory reason) = kms.isAppAllowed(_admitted(bootInfo, address(new RawApp(false, answer))));
        check(!isAllowed, "answer");
        check(bytes(reason).length == HUGE, "length of the reason");
    }

    function test_hugeRevertIsNoAnswer() public {
        IAppAuth.AppBootInfo memory bootInfo;
        (bool answered, bytes memory returned) = _ask(_admitted(bootInfo, address(new RawApp(true, new bytes(HUGE)))));
        check(!answered, "answered");
        check(returned.length == HUGE, "length of the revert data");
    }

    /// INV-7: nothing can be written while a question is answered.
    function test_askedAppCannotWrite() public {
        WritingApp app = new WritingApp();
        IAppAuth.AppBootInfo memory bootInfo;
        (bool answered, ) = _ask(_admitted(bootInfo, address(app)));
        check(!answered, "answered");
        check(app.asked() == 0, "written");
    }

    /// The gates come before the app: one that would not answer is not even asked.
    function testFuzz_gatesComeBeforeTheApp(IAppAuth.AppBootInfo memory bootInfo) public {
        bootInfo.appId = address(new BurningApp());
        (bool isAllowed, string memory reason) = kms.isAppAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "App not registered");
        kms.registerApp(bootInfo.appId);
        (isAllowed, reason) = kms.isAppAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "OS image is not allowed");
    }

    function _admitted(IAppAuth.AppBootInfo memory bootInfo, address app) private returns (IAppAuth.AppBootInfo memory) {
        bootInfo.appId = app;
        kms.registerApp(app);
        kms.addOsImageHash(bootInfo.osImageHash);
        return bootInfo;
    }

    function _ask(IAppAuth.AppBootInfo memory bootInfo) private view returns (bool answered, bytes memory returned) {
        return address(kms).staticcall{gas: QUESTION_GAS}(abi.encodeCall(kms.isAppAllowed, (bootInfo)));
    }
}
