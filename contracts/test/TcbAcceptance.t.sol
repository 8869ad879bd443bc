// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AppAuth} from "../AppAuth.sol";
import {TcbAcceptance} from "../base/TcbAcceptance.sol";
import {IAppAuth} from "../interfaces/IAppAuth.sol";
import {IAppAuthHardening} from "../interfaces/IAppAuthHardening.sol";
import {IRefusals} from "../interfaces/IRefusals.sol";
import {ITcbAcceptance} from "../interfaces/ITcbAcceptance.sol";
import {TestBase} from "./TestBase.sol";

/// @title The TCB rule of trust domain and app against a model of it, for all words and times
contract TcbAcceptanceTest is TestBase {
    uint256 private constant NOW = 1_800_000_000;
    uint256 private constant MAX_ACCEPTANCE = 730 days;
    uint256 private constant MAX_TEXT_BYTES = 64;
    string private constant BEHIND = "TCB status is not up to date";
    string private constant ADVISED = "TCB advisory is not accepted";

    AppAuth private _app;

    function setUp() public override {
        super.setUp();
        VM.warp(NOW);
        _app = newStrictApp(true, true);
        _app.addComposeHash("compose");
        kms.addOsImageHash("image");
        kms.addKmsAggregatedMr("mr");
        kms.addKmsDevice("device");
    }

    /// With nothing accepted the answer is today's: `UpToDate` passes, whatever the advisories, and nothing else does.
    function testFuzz_emptyListsAreTheOldRule(bool ofApp, string memory status, string[] memory advisories, uint256 time) public {
        VM.warp(1 + (time % type(uint64).max));
        _checkAnswer(ofApp, status, advisories, _isUpToDate(status) ? "" : BEHIND);
        _checkAnswer(ofApp, "UpToDate", advisories, "");
    }

    /// Status, date and advisories decide as in the model, in this order.
    function testFuzz_acceptanceIsTheModel(
        bool ofApp,
        uint8 accepted,
        uint8 asked,
        uint256 until,
        uint256 time,
        uint8 acceptedAdvisories,
        uint8 reportedAdvisories
    ) public {
        TcbAcceptance policy = _policy(ofApp);
        until = NOW + (until % MAX_ACCEPTANCE);
        time = NOW + (time % (MAX_ACCEPTANCE + 1 days));
        if (asked % 2 == 0) asked = accepted;
        policy.acceptTcbStatus(_acceptable(accepted), uint64(until));
        for (uint8 i = 0; i < 4; ++i) {
            if ((acceptedAdvisories >> i) & 1 == 1) policy.acceptAdvisory(_advisory(i));
        }
        VM.warp(time);
        string memory expected;
        if (_equal(_acceptable(asked), _acceptable(accepted)) && time < until + 1) {
            expected = (reportedAdvisories & 15) & ~acceptedAdvisories == 0 ? "" : ADVISED;
        } else {
            expected = BEHIND;
        }
        _checkAnswer(ofApp, _acceptable(asked), _reported(reportedAdvisories & 15), expected);
        _checkAnswer(ofApp, "UpToDate", _reported(reportedAdvisories), "");
        _checkAnswer(ofApp, "Revoked", new string[](0), BEHIND);
    }

    /// The last second passes, the next does not.
    function testFuzz_acceptanceEndsBySecond(bool ofApp, string memory status, uint256 until) public {
        VM.assume(_isAcceptable(status));
        until = NOW + (until % MAX_ACCEPTANCE);
        _policy(ofApp).acceptTcbStatus(status, uint64(until));
        VM.warp(until);
        _checkAnswer(ofApp, status, new string[](0), "");
        VM.warp(until + 1);
        _checkAnswer(ofApp, status, new string[](0), BEHIND);
    }

    function testFuzz_dateIsAheadAndNotTooFar(bool ofApp, uint64 until) public {
        if (until % 2 == 0) until = uint64(NOW - 5 + (until % (MAX_ACCEPTANCE + 10)));
        bytes memory refusal = abi.encodeWithSelector(
            ITcbAcceptance.AcceptanceDateOutOfRange.selector,
            NOW,
            NOW + MAX_ACCEPTANCE,
            until
        );
        bool isDate = until > NOW - 1 && until < NOW + MAX_ACCEPTANCE + 1;
        _checkCall(ofApp, abi.encodeCall(ITcbAcceptance.acceptTcbStatus, ("OutOfDate", until)), isDate ? bytes("") : refusal);
        check(_policy(ofApp).tcbStatusAcceptedUntil("OutOfDate") == (isDate ? until : 0), "date");
    }

    function test_limitsOfTheDate() public {
        uint64 latest = uint64(NOW + MAX_ACCEPTANCE);
        kms.acceptTcbStatus("OutOfDate", uint64(NOW));
        kms.acceptTcbStatus("OutOfDate", latest);
        check(kms.tcbStatusAcceptedUntil("OutOfDate") == latest, "date");
        VM.expectRevert();
        kms.acceptTcbStatus("OutOfDate", latest + 1);
        VM.expectRevert();
        kms.acceptTcbStatus("OutOfDate", uint64(NOW - 1));
    }

    /// `UpToDate` needs no acceptance, and `Revoked` gets none.
    function testFuzz_twoStatusesAreNotAcceptable(bool ofApp, bool revoked, uint64 until) public {
        string memory status = revoked ? "Revoked" : "UpToDate";
        bytes memory refusal = abi.encodeWithSelector(ITcbAcceptance.TcbStatusNotAcceptable.selector, status);
        _checkCall(ofApp, abi.encodeCall(ITcbAcceptance.acceptTcbStatus, (status, until)), refusal);
    }

    function testFuzz_textsHaveALimit(bool ofApp, uint8 length) public {
        string memory text = string(new bytes(length % 70));
        bool fits = bytes(text).length != 0 && bytes(text).length < MAX_TEXT_BYTES + 1;
        bytes4 selector = IRefusals.LengthOutOfRange.selector;
        bytes memory status = abi.encodeWithSelector(selector, keccak256("tcb-status"), 1, MAX_TEXT_BYTES, bytes(text).length);
        bytes memory advisory = abi.encodeWithSelector(
            selector,
            keccak256("tcb-advisory"),
            1,
            MAX_TEXT_BYTES,
            bytes(text).length
        );
        _checkCall(ofApp, abi.encodeCall(ITcbAcceptance.acceptTcbStatus, (text, uint64(NOW))), fits ? bytes("") : status);
        _checkCall(ofApp, abi.encodeCall(ITcbAcceptance.acceptAdvisory, (text)), fits ? bytes("") : advisory);
    }

    /// Taking back works at once, and in any mode a repeat says nothing.
    function testFuzz_withdrawingIsAtOnce(bool ofApp, bool ofStatus, string memory status, string memory advisory) public {
        VM.assume(_isAcceptable(status) && bytes(advisory).length != 0 && bytes(advisory).length < MAX_TEXT_BYTES + 1);
        address policy = address(_policy(ofApp));
        string[] memory reported = new string[](2);
        (reported[0], reported[1]) = (advisory, advisory);
        checkQuietRepeat(policy, abi.encodeCall(ITcbAcceptance.acceptTcbStatus, (status, uint64(NOW))));
        _checkAnswer(ofApp, status, reported, ADVISED);
        checkQuietRepeat(policy, abi.encodeCall(ITcbAcceptance.acceptAdvisory, (advisory)));
        _checkAnswer(ofApp, status, reported, "");
        if (ofStatus) checkQuietRepeat(policy, abi.encodeCall(ITcbAcceptance.withdrawTcbStatus, (status)));
        else checkQuietRepeat(policy, abi.encodeCall(ITcbAcceptance.withdrawAdvisory, (advisory)));
        _checkAnswer(ofApp, status, reported, ofStatus ? BEHIND : ADVISED);
    }

    /// A repeat moves the date, also to an earlier one.
    function testFuzz_repeatMovesTheDate(bool ofApp, uint256 first, uint256 second) public {
        TcbAcceptance policy = _policy(ofApp);
        (first, second) = (NOW + (first % MAX_ACCEPTANCE), NOW + (second % MAX_ACCEPTANCE));
        policy.acceptTcbStatus("OutOfDate", uint64(first));
        policy.acceptTcbStatus("OutOfDate", uint64(second));
        VM.warp(first > second ? first : second);
        _checkAnswer(ofApp, "OutOfDate", new string[](0), first > second ? BEHIND : "");
    }

    /// An app without the TCB rule asks neither status nor advisories.
    function testFuzz_withoutTheRuleNothingIsAsked(string memory status, string[] memory advisories) public {
        _app.setRequireTcbUpToDate(false);
        _checkAnswer(true, status, advisories, "");
    }

    function testFuzz_onlyTheOwnerAccepts(bool ofApp, address caller, uint256 which) public {
        VM.assume(caller != address(this));
        VM.prank(caller);
        (bool done, ) = address(_policy(ofApp)).call(_change(which));
        check(!done, "change of a stranger");
    }

    /// A frozen app keeps what it accepts, until the dates pass.
    function testFuzz_frozenAppRefuses(uint256 which, uint256 until) public {
        until = NOW + (until % MAX_ACCEPTANCE);
        _app.acceptTcbStatus("OutOfDate", uint64(until));
        _app.freezePolicy();
        _checkCall(true, _change(which), abi.encodeWithSelector(IAppAuthHardening.PolicyIsFrozen.selector));
        VM.warp(until);
        _checkAnswer(true, "OutOfDate", new string[](0), "");
        VM.warp(until + 1);
        _checkAnswer(true, "OutOfDate", new string[](0), BEHIND);
    }

    function _checkAnswer(bool ofApp, string memory status, string[] memory advisories, string memory expected) private view {
        IAppAuth.AppBootInfo memory bootInfo;
        (bootInfo.osImageHash, bootInfo.mrAggregated, bootInfo.deviceId) = ("image", "mr", "device");
        (bootInfo.composeHash, bootInfo.tcbStatus, bootInfo.advisoryIds) = ("compose", status, advisories);
        (bool isAllowed, string memory reason) = ofApp ? _app.isAppAllowed(bootInfo) : kms.isKmsAllowed(bootInfo);
        checkAnswer(isAllowed, reason, expected);
    }

    function _checkCall(bool ofApp, bytes memory data, bytes memory refusal) private {
        (bool done, bytes memory returned) = address(_policy(ofApp)).call(data);
        check(done == (refusal.length == 0), "accepted");
        check(keccak256(returned) == keccak256(refusal), "refusal");
    }

    function _policy(bool ofApp) private view returns (TcbAcceptance) {
        return ofApp ? TcbAcceptance(_app) : TcbAcceptance(kms);
    }

    function _change(uint256 which) private view returns (bytes memory) {
        if (which % 4 == 0) return abi.encodeCall(ITcbAcceptance.acceptTcbStatus, ("OutOfDate", uint64(block.timestamp)));
        if (which % 4 == 1) return abi.encodeCall(ITcbAcceptance.withdrawTcbStatus, ("OutOfDate"));
        if (which % 4 == 2) return abi.encodeCall(ITcbAcceptance.acceptAdvisory, ("INTEL-SA-00001"));
        return abi.encodeCall(ITcbAcceptance.withdrawAdvisory, ("INTEL-SA-00001"));
    }

    function _acceptable(uint8 index) private pure returns (string memory) {
        if (index % 4 == 0) return "OutOfDate";
        if (index % 4 == 1) return "SWHardeningNeeded";
        return index % 4 == 2 ? "uptodate" : "TDRelaunchAdvised";
    }

    function _advisory(uint8 index) private pure returns (string memory) {
        return string(abi.encodePacked("INTEL-SA-0000", bytes1(uint8(0x30 + index))));
    }

    function _reported(uint8 bits) private pure returns (string[] memory reported) {
        uint256 count;
        for (uint8 i = 0; i < 8; ++i) count += (bits >> i) & 1;
        reported = new string[](count);
        for (uint8 i = 8; i > 0; --i) {
            if ((bits >> (i - 1)) & 1 == 1) reported[--count] = _advisory(i - 1);
        }
    }

    function _isAcceptable(string memory status) private pure returns (bool) {
        uint256 size = bytes(status).length;
        return size != 0 && size < MAX_TEXT_BYTES + 1 && !_isUpToDate(status) && !_equal(status, "Revoked");
    }

    function _isUpToDate(string memory status) private pure returns (bool) {
        return _equal(status, "UpToDate");
    }

    function _equal(string memory one, string memory other) private pure returns (bool) {
        return keccak256(bytes(one)) == keccak256(bytes(other));
    }
}
