// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IAppAuth} from "../interfaces/IAppAuth.sol";
import {AnsweringApp, BurningApp, RawApp, WritingApp} from "./AppMocks.sol";
import {TestBase} from "./TestBase.sol";

/// @title What a strict trust domain answers about app contracts of any behaviour
/// @dev The counterpart of H11: an app that does not answer is a denial with a reason, and never makes the question revert.
contract StrictHostileAppsTest is TestBase {
    /// @dev What the app may burn, and what the gates, the copies and the reserve of one in 64 may take besides.
    uint256 private constant MAX_QUESTION_GAS = 3_200_000;
    uint256 private constant MIN_ANSWER_BYTES = 96;
    uint256 private constant MAX_ANSWER_BYTES = 4_096;
    uint256 private constant HUGE = 100 * 1024;
    string private constant FAILED = "App contract failed";
    string private constant MALFORMED = "App contract answer is malformed";

    /// @dev An app contract may have passed the check when it was registered and do anything since.
    uint256 private constant ALL_BUT_CHECK_CONTRACTS = 127 - 16;

    function setUp() public override {
        super.setUp();
        setUpStrict();
        kms.setHardening(ALL_BUT_CHECK_CONTRACTS);
    }

    /// H10 in strict mode: behind the gates the app's answer goes out verbatim.
    function testFuzz_answerIsTheAppsAnswer(IAppAuth.AppBootInfo memory bootInfo, bool isAllowed, string memory reason) public {
        VM.assume(bytes(reason).length < MAX_ANSWER_BYTES - 128);
        _checkAnswer(bootInfo, address(new AnsweringApp(isAllowed, reason)), isAllowed, reason);
    }

    function testFuzz_revertIsADenial(IAppAuth.AppBootInfo memory bootInfo, bytes memory data) public {
        _checkAnswer(bootInfo, address(new RawApp(true, data)), false, FAILED);
    }

    function testFuzz_burntGasIsADenial(IAppAuth.AppBootInfo memory bootInfo) public {
        _checkAnswer(bootInfo, address(new BurningApp()), false, FAILED);
    }

    /// INV-7 in strict mode: an app that writes while it is asked has failed.
    function testFuzz_writingIsADenial(IAppAuth.AppBootInfo memory bootInfo) public {
        _checkAnswer(bootInfo, address(new WritingApp()), false, FAILED);
    }

    function test_hugeAnswersAreDenials() public {
        IAppAuth.AppBootInfo memory bootInfo;
        _checkAnswer(bootInfo, address(new RawApp(true, new bytes(HUGE))), false, FAILED);
        _checkAnswer(bootInfo, address(new RawApp(false, abi.encode(true, string(new bytes(HUGE))))), false, MALFORMED);
    }

    /// 4,096 bytes are an answer, 4,097 are not.
    function test_answerHasALimit() public {
        IAppAuth.AppBootInfo memory bootInfo;
        string memory reason = string(new bytes(MAX_ANSWER_BYTES - 96));
        bytes memory answer = abi.encode(true, reason);
        _checkAnswer(bootInfo, address(new RawApp(false, answer)), true, reason);
        _checkAnswer(bootInfo, address(new RawApp(false, bytes.concat(answer, hex"00"))), false, MALFORMED);
    }

    /// Whatever bytes come back, the answer is what the compiler's decoder makes of them, or that they are malformed.
    function testFuzz_anyBytesAreDecodedOrMalformed(IAppAuth.AppBootInfo memory bootInfo, bytes memory data) public {
        _checkDecoded(bootInfo, data);
    }

    /// Nearly an answer: flag, offset and length are small or huge, and the bytes end anywhere.
    function testFuzz_nearAnswersAreDecodedOrMalformed(uint256[3] memory words, bytes memory tail, bytes32 shape) public {
        IAppAuth.AppBootInfo memory bootInfo;
        for (uint256 i = 0; i < words.length; ++i) {
            uint8 kind = uint8(shape[i]) % 5;
            if (kind == 0) words[i] %= 2;
            if (kind == 1) words[i] = 64;
            if (kind == 2) words[i] %= 160;
            if (kind == 3) words[i] = type(uint256).max - (words[i] % 160);
        }
        if (shape[3] & 0x01 == 0) words[0] %= 2;
        if (shape[3] & 0x02 == 0) words[1] = 64;
        if (shape[3] & 0x04 == 0) words[2] = tail.length;
        _checkDecoded(bootInfo, abi.encodePacked(words, tail));
    }

    /// The last place where a length fits, and the last length that fits behind it.
    function test_limitsInsideTheAnswer() public {
        IAppAuth.AppBootInfo memory bootInfo;
        for (uint256 size = 96; size < 99; ++size) {
            for (uint256 offset = size - 34; offset < size + 2; ++offset) {
                bytes memory answer = bytes.concat(abi.encode(1, offset), new bytes(size - 64));
                _checkDecoded(bootInfo, answer);
            }
            for (uint256 length = 0; length < 5; ++length) {
                _checkDecoded(bootInfo, bytes.concat(abi.encode(1, 64, length), new bytes(size - 96)));
            }
        }
    }

    /// Less than a flag, an offset and a length is no answer, though a decoder may find all three in fewer bytes.
    function test_shortestAnswer() public {
        IAppAuth.AppBootInfo memory bootInfo;
        (bool isAllowed, string memory reason) = this.decode(abi.encode(1, 0));
        check(isAllowed && bytes(reason).length == 1, "decoder");
        for (uint256 size = 64; size < MIN_ANSWER_BYTES; ++size) {
            _checkAnswer(
                bootInfo,
                address(new RawApp(false, bytes.concat(abi.encode(1, 0), new bytes(size - 64)))),
                false,
                MALFORMED
            );
        }
    }

    /// A whole answer, cut short: never a yes once a byte of the reason is gone.
    function testFuzz_shortDataIsMalformed(bool isAllowed, string memory reason, uint256 size) public {
        VM.assume(bytes(reason).length != 0 && bytes(reason).length < MAX_ANSWER_BYTES - 128);
        IAppAuth.AppBootInfo memory bootInfo;
        bytes memory answer = abi.encode(isAllowed, reason);
        size %= 96 + bytes(reason).length;
        assembly ("memory-safe") {
            mstore(answer, size)
        }
        _checkAnswer(bootInfo, address(new RawApp(false, answer)), false, MALFORMED);
    }

    /// A flag is 0 or 1, never another word; 2 is no yes.
    function testFuzz_otherFlagIsMalformed(uint256 flag) public {
        IAppAuth.AppBootInfo memory bootInfo;
        if (flag < 2) flag += 2;
        _checkAnswer(bootInfo, address(new RawApp(false, abi.encode(flag, ""))), false, MALFORMED);
    }

    /// Too little gas for the app's share is at worst a denial or no answer: never a yes that the app did not give.
    function testFuzz_littleGasIsNoYes(IAppAuth.AppBootInfo memory bootInfo, uint256 gasLimit) public {
        address app = address(new AnsweringApp(false, "no"));
        bytes memory question = _question(bootInfo, app);
        (bool answered, bytes memory returned) = address(kms).staticcall{gas: gasLimit % 200_000}(question);
        if (!answered) return;
        (bool isAllowed, ) = abi.decode(returned, (bool, string));
        check(!isAllowed, "yes");
    }

    /// A trust domain registered as an app asks itself until the gas is gone, and denies.
    function testFuzz_askingItselfIsADenial(IAppAuth.AppBootInfo memory bootInfo) public {
        kms.registerApp(address(kms));
        bootInfo.appId = address(kms);
        kms.addOsImageHash(_nonZeroImage(bootInfo));
        (bool isAllowed, string memory reason) = kms.isAppAllowed(bootInfo);
        checkAnswer(isAllowed, reason, FAILED);
    }

    /// The compiler's decoder, apart so that its revert can be caught.
    function decode(bytes calldata data) external pure returns (bool isAllowed, string memory reason) {
        return abi.decode(data, (bool, string));
    }

    function _checkDecoded(IAppAuth.AppBootInfo memory bootInfo, bytes memory data) private {
        (bool expected, string memory expectedReason) = (false, MALFORMED);
        if (data.length > MIN_ANSWER_BYTES - 1 && data.length < MAX_ANSWER_BYTES + 1) {
            try this.decode(data) returns (bool isAllowed, string memory reason) {
                (expected, expectedReason) = (isAllowed, reason);
            } catch {}
        }
        _checkAnswer(bootInfo, address(new RawApp(false, data)), expected, expectedReason);
    }

    /// Byte for byte: the answer is encoded as the compiler would.
    function _checkAnswer(IAppAuth.AppBootInfo memory bootInfo, address app, bool expected, string memory reason) private {
        bytes memory question = _question(bootInfo, app);
        uint256 gasBefore = gasleft();
        (bool answered, bytes memory returned) = address(kms).staticcall(question);
        check(gasBefore - gasleft() < MAX_QUESTION_GAS, "gas");
        check(answered, "reverted");
        check(keccak256(returned) == keccak256(abi.encode(expected, reason)), reason);
    }

    function _question(IAppAuth.AppBootInfo memory bootInfo, address app) private returns (bytes memory) {
        kms.registerApp(app);
        bootInfo.appId = app;
        kms.addOsImageHash(_nonZeroImage(bootInfo));
        return abi.encodeCall(kms.isAppAllowed, (bootInfo));
    }

    function _nonZeroImage(IAppAuth.AppBootInfo memory bootInfo) private pure returns (bytes32) {
        if (bootInfo.osImageHash == 0) bootInfo.osImageHash = "image";
        return bootInfo.osImageHash;
    }
}
