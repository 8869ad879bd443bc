// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IKmsAuth} from "../interfaces/IKmsAuth.sol";
import {IKmsAuthHardening} from "../interfaces/IKmsAuthHardening.sol";
import {IRefusals} from "../interfaces/IRefusals.sol";
import {RawApp} from "./AppMocks.sol";
import {Evidence} from "./Evidence.sol";
import {TestBase} from "./TestBase.sol";
import {AnsweringVerifier, ReenteringVerifier} from "./Verifiers.sol";

/// @title Which root keys a strict trust domain publishes, for all keys and evidence
contract RootKeysTest is TestBase {
    bytes32 private constant K256_PUBKEY = keccak256("kms-k256-pubkey");
    bytes32 private constant CA_PUBKEY = keccak256("kms-ca-pubkey");
    uint256 private constant REPORT_DATA_BYTES = 64;

    function setUp() public override {
        super.setUp();
        setUpStrict();
    }

    function testFuzz_boundKeysAreTaken(bytes32 seed, uint256 kind, bytes calldata eventlog) public {
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, kind % Evidence.READABLE_KINDS, eventlog);
        kms.setKmsInfo(info);
        _checkInfo(info);
    }

    function testFuzz_evidenceOfOtherKeysIsRefused(bytes32 seed, bytes32 other, uint256 kind) public {
        VM.assume(seed != other);
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, kind % Evidence.READABLE_KINDS, "");
        info.quote = Evidence.info(other, kind % Evidence.READABLE_KINDS, "").quote;
        _checkRefused(info, IKmsAuthHardening.RootKeysNotBound.selector);
        info = Evidence.info(seed, kind % Evidence.READABLE_KINDS, "");
        info.caPubkey = Evidence.caPubkey(other);
        _checkRefused(info, IKmsAuthHardening.RootKeysNotBound.selector);
    }

    /// One bit of the report data decides, wherever it is.
    function test_everyByteOfTheReportDataCounts() public {
        for (uint256 kind = 0; kind < Evidence.READABLE_KINDS; ++kind) {
            for (uint256 i = 0; i < REPORT_DATA_BYTES; ++i) {
                IKmsAuth.KmsInfo memory info = Evidence.info("keys", kind, "");
                info.quote[Evidence.reportDataOffset(kind) + i] ^= 0x01;
                _checkRefused(info, IKmsAuthHardening.RootKeysNotBound.selector);
            }
        }
    }

    function testFuzz_changedReportDataIsRefused(bytes32 seed, uint256 kind, uint256 index, uint8 mask) public {
        VM.assume(mask != 0);
        kind %= Evidence.READABLE_KINDS;
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, kind, "");
        info.quote[Evidence.reportDataOffset(kind) + (index % REPORT_DATA_BYTES)] ^= bytes1(mask);
        _checkRefused(info, IKmsAuthHardening.RootKeysNotBound.selector);
    }

    /// Without a verifier nobody can say where such evidence has its report data, or whether it is evidence at all.
    function testFuzz_otherEvidenceNeedsAVerifier(bytes32 seed, uint256 kind, bytes calldata eventlog) public {
        kind = Evidence.READABLE_KINDS + (kind % (Evidence.KINDS - Evidence.READABLE_KINDS));
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, kind, eventlog);
        _checkRefused(info, IKmsAuthHardening.VerifierRequired.selector);
    }

    function testFuzz_truncatedQuoteNeedsAVerifier(bytes32 seed, uint256 kind, uint256 size) public {
        kind %= Evidence.READABLE_KINDS;
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, kind, "");
        size %= Evidence.reportDataOffset(kind) + REPORT_DATA_BYTES;
        info.quote = _resized(info.quote, size);
        _checkRefused(info, IKmsAuthHardening.VerifierRequired.selector);
    }

    function testFuzz_anyBytesAreNoEvidence(bytes32 seed, bytes calldata quote) public {
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, 0, "");
        info.quote = quote;
        (bool done, ) = address(kms).call(abi.encodeCall(kms.setKmsInfo, (info)));
        check(!done, "keys without evidence");
    }

    function testFuzz_keysHaveTheirSize(bytes32 seed, uint256 k256Size, uint256 caSize) public {
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, 0, "");
        (k256Size, caSize) = (31 + (k256Size % 4), 89 + (caSize % 4));
        info.k256Pubkey = _resized(info.k256Pubkey, k256Size);
        info.caPubkey = _resized(info.caPubkey, caSize);
        info.quote = Evidence.quote(0, Evidence.reportData(info.k256Pubkey, info.caPubkey));
        bytes memory refusal;
        if (caSize != 91) refusal = abi.encodeWithSelector(IRefusals.LengthOutOfRange.selector, CA_PUBKEY, 91, 91, caSize);
        if (k256Size != 33) refusal = abi.encodeWithSelector(IRefusals.LengthOutOfRange.selector, K256_PUBKEY, 33, 33, k256Size);
        (bool done, bytes memory returned) = address(kms).call(abi.encodeCall(kms.setKmsInfo, (info)));
        check(done == (refusal.length == 0), "taken");
        check(keccak256(returned) == keccak256(refusal), "refusal");
    }

    /// The first byte of one key and the first 27 of the other say what kind of key it is.
    function testFuzz_keysHaveTheirForm(bytes32 seed, uint256 index, uint8 mask) public {
        VM.assume(mask != 0);
        index %= 28;
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, 0, "");
        if (index == 27) info.k256Pubkey[0] ^= bytes1(mask);
        else info.caPubkey[index] ^= bytes1(mask);
        VM.assume((info.k256Pubkey[0] != 0x02 && info.k256Pubkey[0] != 0x03) || index != 27);
        info.quote = Evidence.quote(0, Evidence.reportData(info.k256Pubkey, info.caPubkey));
        _checkRefused(info, IKmsAuthHardening.MalformedRootKey.selector);
    }

    function testFuzz_verifierDecidesToo(bytes32 seed, uint256 kind, bool accepts, bytes calldata output) public {
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, kind % Evidence.READABLE_KINDS, "");
        kms.setQuoteVerifier(address(new AnsweringVerifier(accepts, output)));
        if (accepts) kms.setKmsInfo(info);
        else _checkRefused(info, IKmsAuthHardening.EvidenceRefused.selector);
    }

    /// A verifier's word is no substitute for the binding of a quote that can be read.
    function testFuzz_verifierDoesNotReplaceTheBinding(bytes32 seed, bytes32 other, uint256 kind) public {
        VM.assume(seed != other);
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, kind % Evidence.READABLE_KINDS, "");
        bytes memory wanted = Evidence.reportData(info.k256Pubkey, info.caPubkey);
        kms.setQuoteVerifier(address(new AnsweringVerifier(true, wanted)));
        info.quote = Evidence.info(other, kind % Evidence.READABLE_KINDS, "").quote;
        _checkRefused(info, IKmsAuthHardening.RootKeysNotBound.selector);
    }

    /// What the verifier found must begin with the binding, since nothing else says which keys the evidence is for.
    function testFuzz_otherEvidenceIsBoundByTheOutput(
        bytes32 seed,
        bytes calldata evidence,
        bytes calldata tail,
        uint8 mask
    ) public {
        if (uint256(seed) % 3 == 0) mask = 0;
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, 0, "");
        info.quote = bytes.concat("other", evidence);
        bytes memory output = bytes.concat(Evidence.reportData(info.k256Pubkey, info.caPubkey), tail);
        output[uint256(seed) % REPORT_DATA_BYTES] ^= bytes1(mask);
        kms.setQuoteVerifier(address(new AnsweringVerifier(true, output)));
        if (mask != 0) return _checkRefused(info, IKmsAuthHardening.RootKeysNotBound.selector);
        kms.setKmsInfo(info);
        _checkInfo(info);
    }

    function testFuzz_shortOutputIsRefused(bytes32 seed, uint256 size) public {
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, Evidence.SGX_V3, "");
        bytes memory output = _resized(Evidence.reportData(info.k256Pubkey, info.caPubkey), size % REPORT_DATA_BYTES);
        kms.setQuoteVerifier(address(new AnsweringVerifier(true, output)));
        _checkRefused(info, IRefusals.LengthOutOfRange.selector);
    }

    /// A verifier that reverts or answers nonsense has not accepted.
    function testFuzz_brokenVerifierRefuses(bytes32 seed, bool reverts, uint256 flag, bytes calldata raw) public {
        VM.assume(flag != 1);
        bytes memory answer = raw.length % 2 == 0 ? bytes(raw) : abi.encode(flag, 64, 0);
        kms.setQuoteVerifier(address(new RawApp(reverts, answer)));
        (bool done, ) = address(kms).call(abi.encodeCall(kms.setKmsInfo, (Evidence.info(seed, 0, ""))));
        check(!done, "keys without a verifier's word");
    }

    /// Whatever a verifier does while it is asked, it does as itself: not as the owner.
    function testFuzz_verifierCannotActAsTheOwner(bytes32 seed) public {
        ReenteringVerifier verifier = new ReenteringVerifier();
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, 0, "");
        verifier.aim(address(kms), abi.encodeCall(kms.setKmsInfo, (Evidence.info(keccak256(abi.encode(seed)), 0, ""))));
        verifier.aim(address(kms), abi.encodeCall(kms.setQuoteVerifier, (address(0))));
        verifier.aim(address(kms), abi.encodeCall(kms.addKmsAggregatedMr, (seed)));
        verifier.aim(address(kms), abi.encodeCall(kms.registerApp, (address(verifier))));
        verifier.aim(address(kms), abi.encodeWithSignature("transferOwnership(address)", address(verifier)));
        kms.setQuoteVerifier(address(verifier));
        kms.setKmsInfo(info);
        check(verifier.succeeded() == 0, "call of the verifier");
        _checkInfo(info);
    }

    function testFuzz_onlyTheOwnerPublishes(address caller, bytes32 seed) public {
        VM.assume(caller != address(this));
        VM.prank(caller);
        (bool done, ) = address(kms).call(abi.encodeCall(kms.setKmsInfo, (Evidence.info(seed, 0, ""))));
        check(!done, "keys of a stranger");
    }

    /// The quote alone may be replaced by another of the same keys, not by one of others.
    function testFuzz_replacedQuoteIsCheckedToo(bytes32 seed, bytes32 other) public {
        VM.assume(seed != other);
        kms.setKmsInfo(Evidence.info(seed, Evidence.TDX_V4, "log"));
        IKmsAuth.KmsInfo memory info = Evidence.info(seed, Evidence.TDX_V5_BODY_1_5, "log");
        kms.setKmsQuote(info.quote);
        _checkInfo(info);
        bytes memory foreign = Evidence.info(other, Evidence.TDX_V4, "").quote;
        (bool done, bytes memory returned) = address(kms).call(abi.encodeCall(kms.setKmsQuote, (foreign)));
        check(!done && bytes4(returned) == IKmsAuthHardening.RootKeysNotBound.selector, "foreign quote");
    }

    function _checkRefused(IKmsAuth.KmsInfo memory info, bytes4 selector) private {
        (bool done, bytes memory returned) = address(kms).call(abi.encodeCall(kms.setKmsInfo, (info)));
        check(!done, "keys that must be refused");
        check(bytes4(returned) == selector, "refusal");
    }

    function _checkInfo(IKmsAuth.KmsInfo memory info) private view {
        (bytes memory k256, bytes memory ca, bytes memory quote, bytes memory eventlog) = kms.kmsInfo();
        check(keccak256(abi.encode(k256, ca)) == keccak256(abi.encode(info.k256Pubkey, info.caPubkey)), "keys");
        check(keccak256(abi.encode(quote, eventlog)) == keccak256(abi.encode(info.quote, info.eventlog)), "evidence");
    }

    function _resized(bytes memory data, uint256 size) private pure returns (bytes memory resized) {
        resized = new bytes(size);
        for (uint256 i = 0; i < size && i < data.length; ++i) resized[i] = data[i];
    }
}
