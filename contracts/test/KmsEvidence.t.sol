// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IKmsAuth} from "../interfaces/IKmsAuth.sol";
import {IRefusals} from "../interfaces/IRefusals.sol";
import {KmsAuth} from "../KmsAuth.sol";
import {CodeStorage} from "../libraries/CodeStorage.sol";
import {DeployedKmsAuth} from "./DeployedLayout.sol";
import {Evidence} from "./Evidence.sol";
import {TestBase} from "./TestBase.sol";

/// @title What a trust domain is after a roll-back: the deployed layout, written as the deployed contracts write it
contract RolledBackKms is DeployedKmsAuth {
    function setKmsInfo(IKmsAuth.KmsInfo calldata info) external onlyOwner {
        kmsInfo = info;
    }
}

/// @title Writer and reader of bytes kept as code, on their own
contract CodeKeeper {
    function roundTrip(bytes calldata data) external returns (address pointer, bytes memory read) {
        pointer = CodeStorage.write(data);
        read = CodeStorage.read(pointer);
    }
}

/// @title Where the evidence of root keys is kept, in either mode and between them
contract KmsEvidenceTest is TestBase {
    uint256 private constant MAX_BYTES = 24_575;
    bytes32 private constant QUOTE_SLOT = bytes32(uint256(2));
    bytes32 private constant EVENTLOG_SLOT = bytes32(uint256(3));
    uint256 private constant ALL = 127;

    function testFuzz_bytesKeptAsCodeComeBack(bytes calldata data) public {
        _checkRoundTrip(data);
    }

    /// A contract of 24,576 bytes is the greatest there is, and its first is not ours.
    function test_bytesOfEveryLimitComeBack() public {
        _checkRoundTrip("");
        _checkRoundTrip(hex"00");
        _checkRoundTrip(hex"ef");
        _checkRoundTrip(_filled(255));
        _checkRoundTrip(_filled(256));
        _checkRoundTrip(_filled(MAX_BYTES));
    }

    function test_largestEvidenceIsKept() public {
        setUpStrict();
        IKmsAuth.KmsInfo memory info = _info("keys", _filled(MAX_BYTES));
        info.quote = bytes.concat(info.quote, _filled(MAX_BYTES - info.quote.length));
        kms.setKmsInfo(info);
        _checkInfo(info);
    }

    function test_greaterEvidenceIsRefused() public {
        setUpStrict();
        IKmsAuth.KmsInfo memory info = _info("keys", _filled(MAX_BYTES + 1));
        _checkTooLong(abi.encodeCall(kms.setKmsInfo, (info)), "kms-eventlog");
        _checkTooLong(abi.encodeCall(kms.setKmsEventlog, (info.eventlog)), "kms-eventlog");
        info.quote = bytes.concat(info.quote, _filled(MAX_BYTES + 1 - info.quote.length));
        info.eventlog = "";
        _checkTooLong(abi.encodeCall(kms.setKmsInfo, (info)), "kms-quote");
    }

    /// What is kept as code is kept nowhere else.
    function testFuzz_strictModeLeavesTheSlotsEmpty(bytes32 seed, bytes memory eventlog) public {
        setUpStrict();
        kms.setKmsInfo(_info(seed, eventlog));
        _checkInfo(_info(seed, eventlog));
        check(VM.load(address(kms), QUOTE_SLOT) == 0, "quote slot");
        check(VM.load(address(kms), EVENTLOG_SLOT) == 0, "event log slot");
    }

    /// In compatible mode a roll-back finds all four parts where it looks for them.
    function testFuzz_compatibleModeWritesTheSlots(bytes32 seed, bytes memory quote, bytes memory eventlog) public {
        IKmsAuth.KmsInfo memory info = _info(seed, eventlog);
        info.quote = quote;
        kms.setKmsInfo(info);
        _upgrade(address(new RolledBackKms()));
        _checkInfo(info);
    }

    /// The switch moves nothing: what was published stays published, whichever mode the next change is made in.
    function testFuzz_evidenceOutlivesTheSwitch(bytes32 seed, bytes32 next, bool[8] memory strict, bytes memory eventlog) public {
        IKmsAuth.KmsInfo memory info = _info(seed, eventlog);
        kms.setKmsInfo(info);
        for (uint256 i = 0; i < strict.length; ++i) {
            kms.setHardening(strict[i] ? ALL : 0);
            _checkInfo(info);
            uint256 change = uint256(keccak256(abi.encode(next, i))) % 4;
            if (change == 0) info = _info(keccak256(abi.encode(next, i)), eventlog);
            if (change == 0) kms.setKmsInfo(info);
            if (change == 1) info.eventlog = abi.encode(next, i);
            if (change == 1) kms.setKmsEventlog(info.eventlog);
            if (change == 2) info.quote = bytes.concat(info.quote, abi.encode(next, i));
            if (change == 2) kms.setKmsQuote(info.quote);
            if (change == 3) info.eventlog = "";
            if (change == 3) kms.setKmsEventlog("");
            _checkInfo(info);
        }
    }

    /// A roll-back publishes in the slots; what was kept as code before must not come back over it.
    function testFuzz_evidenceOutlivesARollBack(bytes32 seed, bytes32 next) public {
        setUpStrict();
        VM.assume(seed != next);
        kms.setKmsInfo(_info(seed, "kept as code"));
        address ours = address(new KmsAuth());
        _upgrade(address(new RolledBackKms()));
        IKmsAuth.KmsInfo memory info = _info(next, "written by the older code");
        kms.setKmsInfo(info);
        _upgrade(ours);
        _checkInfo(info);
    }

    /// The same keys with the same evidence are no change, whichever way the evidence is kept.
    function testFuzz_strictRepeatIsQuiet(bytes32 seed, bool keptInSlots, bytes memory eventlog) public {
        IKmsAuth.KmsInfo memory info = _info(seed, eventlog);
        if (!keptInSlots) setUpStrict();
        kms.setKmsInfo(info);
        kms.setHardening(ALL);
        checkLogs(address(kms), abi.encodeCall(kms.setKmsInfo, (info)), 0);
        checkLogs(address(kms), abi.encodeCall(kms.setKmsQuote, (info.quote)), 0);
        checkLogs(address(kms), abi.encodeCall(kms.setKmsEventlog, (info.eventlog)), 0);
        _checkInfo(info);
    }

    /// Every change of a part tells the hashes of all parts.
    function testFuzz_strictChangesTellAllHashes(bytes32 seed, bytes memory eventlog, bytes memory nextEventlog) public {
        VM.assume(keccak256(eventlog) != keccak256(nextEventlog));
        setUpStrict();
        IKmsAuth.KmsInfo memory info = _info(seed, eventlog);
        kms.setKmsInfo(info);
        VM.recordLogs();
        kms.setKmsEventlog(nextEventlog);
        bytes memory told = VM.getRecordedLogs()[0].data;
        (bytes32 k256, bytes32 ca) = (keccak256(info.k256Pubkey), keccak256(info.caPubkey));
        check(keccak256(told) == keccak256(abi.encode(k256, ca, keccak256(info.quote), keccak256(nextEventlog))), "hashes");
    }

    function _checkRoundTrip(bytes memory data) private {
        (address pointer, bytes memory read) = new CodeKeeper().roundTrip(data);
        check(keccak256(read) == keccak256(data), "bytes");
        check((pointer == address(0)) == (data.length == 0), "contract");
        if (pointer == address(0)) return;
        check(pointer.code.length == data.length + 1 && pointer.code[0] == 0, "code");
        (bool done, bytes memory returned) = pointer.call(data);
        check(done && returned.length == 0, "code that does something");
    }

    function _checkTooLong(bytes memory data, string memory policy) private {
        bytes4 selector = IRefusals.LengthOutOfRange.selector;
        VM.expectRevert(abi.encodeWithSelector(selector, keccak256(bytes(policy)), 0, MAX_BYTES, MAX_BYTES + 1));
        (bool done, ) = address(kms).call(data);
        done;
    }

    function _checkInfo(IKmsAuth.KmsInfo memory info) private view {
        (bytes memory k256, bytes memory ca, bytes memory quote, bytes memory eventlog) = kms.kmsInfo();
        check(keccak256(abi.encode(k256, ca)) == keccak256(abi.encode(info.k256Pubkey, info.caPubkey)), "keys");
        check(keccak256(quote) == keccak256(info.quote), "quote");
        check(keccak256(eventlog) == keccak256(info.eventlog), "event log");
    }

    function _upgrade(address implementation) private {
        (bool done, ) = address(kms).call(abi.encodeWithSignature("upgradeToAndCall(address,bytes)", implementation, ""));
        check(done, "upgrade");
    }

    function _info(bytes32 seed, bytes memory eventlog) private pure returns (IKmsAuth.KmsInfo memory) {
        return Evidence.info(seed, Evidence.TDX_V4, eventlog);
    }

    function _filled(uint256 size) private pure returns (bytes memory data) {
        data = new bytes(size);
        for (uint256 i = 0; i < size; i += 97) data[i] = bytes1(uint8(i));
    }
}
