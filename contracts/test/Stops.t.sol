// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {MulticallUpgradeable} from "@openzeppelin/contracts-upgradeable/utils/MulticallUpgradeable.sol";
import {AppAuth} from "../AppAuth.sol";
import {IAppAuth} from "../interfaces/IAppAuth.sol";
import {KmsAuth} from "../KmsAuth.sol";
import {AnyCall} from "./AnyCall.sol";
import {AnsweringApp, BurningApp} from "./AppMocks.sol";
import {TestBase} from "./TestBase.sol";

/// @title Pause, suspension and batches, in both modes and for all inputs
contract StopsTest is TestBase {
    uint256 private constant BOUNDED_APP_CALLS = 32;
    string private constant PAUSED = "KMS is paused";

    /// Pause is the first word on every question, whatever else holds, and its end gives the old answers back.
    function testFuzz_pauseStopsEveryAnswer(IAppAuth.AppBootInfo memory bootInfo, bool bounded, bool isAdmitted) public {
        kms.setHardening(bounded ? BOUNDED_APP_CALLS : 0);
        bootInfo.appId = address(new AnsweringApp(true, ""));
        if (isAdmitted) _admit(bootInfo);
        (bool ofKms, string memory kmsReason) = kms.isKmsAllowed(bootInfo);
        (bool ofApp, string memory appReason) = kms.isAppAllowed(bootInfo);
        check(ofKms == isAdmitted && ofApp == isAdmitted, "before");
        kms.pause();
        check(kms.paused(), "paused");
        _checkAnswers(bootInfo, PAUSED, PAUSED);
        kms.unpause();
        check(!kms.paused(), "still paused");
        _checkAnswers(bootInfo, kmsReason, appReason);
    }

    /// A suspension comes after the registration and before everything else, and reaches no other app.
    function testFuzz_suspensionStopsOneApp(IAppAuth.AppBootInfo memory bootInfo, bool bounded, bool isAdmitted) public {
        kms.setHardening(bounded ? BOUNDED_APP_CALLS : 0);
        address other = address(new AnsweringApp(true, ""));
        bootInfo.appId = address(new BurningApp());
        kms.suspendApp(bootInfo.appId);
        (bool isAllowed, string memory reason) = kms.isAppAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "App not registered");
        kms.registerApp(bootInfo.appId);
        if (isAdmitted) _admit(bootInfo);
        (isAllowed, reason) = kms.isAppAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "App is suspended");
        bootInfo.appId = other;
        _admit(bootInfo);
        (isAllowed, reason) = kms.isAppAllowed(bootInfo);
        checkAnswer(isAllowed, reason, "");
        check(!kms.suspendedApps(other), "other app");
    }

    function testFuzz_reinstatedAppAnswersAgain(IAppAuth.AppBootInfo memory bootInfo, bool answer, string memory reason) public {
        VM.assume(answer == (bytes(reason).length == 0));
        bootInfo.appId = address(new AnsweringApp(answer, reason));
        _admit(bootInfo);
        kms.suspendApp(bootInfo.appId);
        kms.reinstateApp(bootInfo.appId);
        (bool isAllowed, string memory after_) = kms.isAppAllowed(bootInfo);
        checkAnswer(isAllowed, after_, reason);
    }

    function testFuzz_onlyTheOwnerStops(address caller, address appId, bool strict, bool isBatched) public {
        VM.assume(caller != address(this));
        if (strict) setUpStrict();
        bytes[] memory calls = new bytes[](6);
        (calls[0], calls[1]) = (abi.encodeCall(kms.pause, ()), abi.encodeCall(kms.unpause, ()));
        (calls[2], calls[3]) = (abi.encodeCall(kms.suspendApp, (appId)), abi.encodeCall(kms.reinstateApp, (appId)));
        (calls[4], calls[5]) = (abi.encodeCall(kms.setHardening, (1)), abi.encodeCall(kms.setQuoteVerifier, (appId)));
        for (uint256 i = 0; i < calls.length; ++i) {
            VM.prank(caller);
            (bool done, bytes memory returned) = address(kms).call(isBatched ? _batch(calls[i]) : calls[i]);
            check(!done, "call of a stranger");
            bytes memory refusal = abi.encodeWithSignature("OwnableUnauthorizedAccount(address)", caller);
            check(keccak256(returned) == keccak256(refusal), "refusal");
        }
    }

    /// A batch may do what its calls may, no more: the same caller gets the same outcome, and the same owner remains.
    function testFuzz_batchIsNoShortcut(
        bool ofApp,
        bool strict,
        bool asOwner,
        address stranger,
        uint256 which,
        bytes32 word
    ) public {
        bool flag = uint256(word) & 256 == 0;
        bytes memory data =
            ofApp
                ? AnyCall.ofApp(which % AnyCall.APP_CALLS, word, flag, address(appImplementation))
                : AnyCall.ofKms(which % AnyCall.KMS_CALLS, word, flag, address(new KmsAuth()));
        (address alone, address batched) = (_target(ofApp, strict), _target(ofApp, strict));
        address caller = asOwner ? address(this) : stranger;
        VM.prank(caller);
        (bool done, ) = alone.call(data);
        VM.prank(caller);
        (bool doneInBatch, ) = batched.call(_batch(data));
        check(done == doneInBatch, "outcome");
        check(AppAuth(alone).owner() == AppAuth(batched).owner(), "owner");
        check(AppAuth(alone).pendingOwner() == AppAuth(batched).pendingOwner(), "pending owner");
    }

    /// All or nothing: a refused call takes back what the batch did before.
    function testFuzz_batchIsAtomic(bytes32 first, bytes32 second) public {
        bytes[] memory batch = new bytes[](3);
        batch[0] = abi.encodeCall(kms.addOsImageHash, (first));
        batch[1] = abi.encodeCall(kms.addKmsDevice, (second));
        kms.multicall(_firstTwo(batch));
        check(kms.allowedOsImages(first) && kms.kmsAllowedDeviceIds(second), "batch");
        batch[0] = abi.encodeCall(kms.removeOsImageHash, (first));
        batch[2] = abi.encodeCall(kms.registerApp, (address(0)));
        VM.expectRevert("Invalid app ID");
        kms.multicall(batch);
        check(kms.allowedOsImages(first), "half a batch");
    }

    /// No value is accepted with a batch, so that no call in it can count the same value again.
    function test_batchTakesNoValue() public {
        address target = address(kms);
        bytes memory data = abi.encodeWithSignature("upgradeToAndCall(address,bytes)", address(new KmsAuth()), "");
        (bool done, ) = target.call{value: 1}(_batch(data));
        check(!done && target.balance == 0, "value");
        (done, ) = target.call(_batch(data));
        check(done, "upgrade in a batch");
    }

    /// The code itself is nobody's, in batches too: whatever is called there, it never replaces or destroys itself.
    function testFuzz_batchesOfTheCodeItselfAreHarmless(uint256 which, bytes32 word, bool flag) public {
        KmsAuth code = new KmsAuth();
        bytes32 before = keccak256(address(code).code);
        (bool done, ) = address(code).call(_batch(AnyCall.ofKms(which % AnyCall.KMS_CALLS, word, flag, address(this))));
        check(keccak256(address(code).code) == before, done ? "code" : "code after a refused call");
        check(code.owner() == address(0) && code.hardening() == 0, "owner");
    }

    function _checkAnswers(IAppAuth.AppBootInfo memory bootInfo, string memory ofKms, string memory ofApp) private view {
        (bool isAllowed, string memory reason) = kms.isKmsAllowed(bootInfo);
        checkAnswer(isAllowed, reason, ofKms);
        (isAllowed, reason) = kms.isAppAllowed(bootInfo);
        checkAnswer(isAllowed, reason, ofApp);
    }

    function _admit(IAppAuth.AppBootInfo memory bootInfo) private {
        bootInfo.tcbStatus = "UpToDate";
        kms.registerApp(bootInfo.appId);
        kms.addOsImageHash(bootInfo.osImageHash);
        kms.addKmsAggregatedMr(bootInfo.mrAggregated);
        kms.addKmsDevice(bootInfo.deviceId);
    }

    function _target(bool ofApp, bool strict) private returns (address) {
        if (ofApp && strict) return address(newStrictApp(false, false));
        if (strict) return address(newStrictKms(address(this)));
        if (!ofApp) {
            setUp();
            return address(kms);
        }
        string memory form = "initialize(address,bool,bool,bytes32,bytes32)";
        return address(newApp(abi.encodeWithSignature(form, address(this), false, false, bytes32(0), bytes32(0))));
    }

    function _batch(bytes memory data) private pure returns (bytes memory) {
        bytes[] memory batch = new bytes[](1);
        batch[0] = data;
        return abi.encodeCall(MulticallUpgradeable.multicall, (batch));
    }

    function _firstTwo(bytes[] memory calls) private pure returns (bytes[] memory two) {
        two = new bytes[](2);
        (two[0], two[1]) = (calls[0], calls[1]);
    }
}
