// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Bytes} from "@openzeppelin/contracts/utils/Bytes.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IKmsAuthHardening} from "../interfaces/IKmsAuthHardening.sol";
import {IQuoteVerifier} from "../interfaces/IQuoteVerifier.sol";
import {IRefusals} from "../interfaces/IRefusals.sol";

/// @title Root keys and the evidence that a confidential machine made them
/// @notice Keys have the form of their kind, and the evidence's report data binds these two keys and no others.
/// @dev Without a verifier this proves no signature: it catches keys and evidence that do not belong together. With one, the evidence
///      is verified on the chain too.
library RootKeyEvidence {
    bytes32 private constant K256_PUBKEY = keccak256("kms-k256-pubkey");
    bytes32 private constant CA_PUBKEY = keccak256("kms-ca-pubkey");
    bytes32 private constant OUTPUT = keccak256("quote-verifier-output");

    uint256 private constant K256_PUBKEY_BYTES = 33;
    uint256 private constant CA_PUBKEY_BYTES = 91;

    /// @dev SubjectPublicKeyInfo of an uncompressed point on P-256, up to the point's first coordinate.
    bytes27 private constant P256_SPKI_PREFIX = 0x3059301306072a8648ce3d020106082a8648ce3d03010703420004;

    /// @dev Quote header, little endian: version at 0 (2 bytes), TEE type at 4 (4 bytes); in version 5 the type of the body at 48.
    bytes2 private constant V4 = 0x0400;
    bytes2 private constant V5 = 0x0500;
    bytes4 private constant TDX = 0x81000000;
    bytes2 private constant TDX_1_0 = 0x0200;
    bytes2 private constant TDX_1_5 = 0x0300;

    /// @dev Where the report data is: 520 bytes into the body, which comes after a header of 48 bytes, and in version 5 after its
    ///      type and size too. Bodies of TDX 1.0 and 1.5 agree up to there.
    uint256 private constant V4_REPORT_DATA = 48 + 520;
    uint256 private constant V5_REPORT_DATA = 54 + 520;
    uint256 private constant REPORT_DATA_BYTES = 64;

    /// @dev SEC 1 compressed point, and the point of a P-256 key.
    function requireKeys(bytes calldata k256Pubkey, bytes calldata caPubkey) internal pure {
        _requireLength(K256_PUBKEY, K256_PUBKEY_BYTES, k256Pubkey.length);
        _requireLength(CA_PUBKEY, CA_PUBKEY_BYTES, caPubkey.length);
        bytes1 sign = bytes1(k256Pubkey);
        if (sign != 0x02 && sign != 0x03) revert IKmsAuthHardening.MalformedRootKey(K256_PUBKEY, bytes1(0x02), sign);
        bytes27 prefix = bytes27(caPubkey);
        if (prefix != P256_SPKI_PREFIX) revert IKmsAuthHardening.MalformedRootKey(CA_PUBKEY, P256_SPKI_PREFIX, prefix);
    }

    /// @dev Evidence of another platform has its report data where only its verifier knows: the output must begin with it.
    function requireBound(
        bytes memory k256Pubkey,
        bytes memory caPubkey,
        bytes calldata evidence,
        address quoteVerifier
    ) internal {
        uint256 offset = _tdxReportDataOffset(evidence);
        if (offset == 0 && quoteVerifier == address(0)) revert IKmsAuthHardening.VerifierRequired(bytes8(evidence));
        bytes32 expected = _bootstrapReportData(k256Pubkey, caPubkey);
        if (offset != 0) _requireReportData(expected, bytes32(evidence[offset:]), bytes32(evidence[offset + 32:]));
        if (quoteVerifier == address(0)) return;
        (bool success, bytes memory output) = IQuoteVerifier(quoteVerifier).verifyAndAttestOnChain(evidence);
        if (!success) revert IKmsAuthHardening.EvidenceRefused(quoteVerifier);
        if (offset != 0) return;
        _requireLength(OUTPUT, REPORT_DATA_BYTES, output.length < REPORT_DATA_BYTES ? output.length : REPORT_DATA_BYTES);
        (bytes32 first, bytes32 second) = abi.decode(output, (bytes32, bytes32));
        _requireReportData(expected, first, second);
    }

    function _requireReportData(bytes32 expected, bytes32 first, bytes32 second) private pure {
        if (first != expected || second != 0) revert IKmsAuthHardening.RootKeysNotBound(expected, first, second);
    }

    function _requireLength(bytes32 policy, uint256 expected, uint256 received) private pure {
        if (received != expected) revert IRefusals.LengthOutOfRange(policy, expected, expected, received);
    }

    /// @dev Zero where this is not a TDX quote that is long enough to have report data.
    function _tdxReportDataOffset(bytes calldata quote) private pure returns (uint256 offset) {
        if (quote.length < V5_REPORT_DATA + REPORT_DATA_BYTES || bytes4(quote[4:]) != TDX) return 0;
        if (bytes2(quote) == V4) return V4_REPORT_DATA;
        bytes2 body = bytes2(quote[48:]);
        return bytes2(quote) == V5 && (body == TDX_1_0 || body == TDX_1_5) ? V5_REPORT_DATA : 0;
    }

    /// @dev The first half; the second is zero. The misspelling is part of the protocol.
    function _bootstrapReportData(bytes memory k256Pubkey, bytes memory caPubkey) private pure returns (bytes32) {
        return keccak256(abi.encodePacked("dstack-kms-genereted-keys-v1:", _hex(caPubkey), ";", _hex(k256Pubkey), ";"));
    }

    /// @dev Lower case, without a prefix.
    function _hex(bytes memory data) private pure returns (bytes memory) {
        return Bytes.slice(bytes(Strings.toHexString(data)), 2);
    }
}
