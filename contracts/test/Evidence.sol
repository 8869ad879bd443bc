// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IKmsAuth} from "../interfaces/IKmsAuth.sol";

/// @title Root keys and quotes that bind them, made from a number
/// @notice An independent writer of the formats that the contracts read; its signatures are worth nothing.
library Evidence {
    /// @dev Kinds of quote: those whose report data can be found, then those whose report data cannot.
    uint256 internal constant TDX_V4 = 0;
    uint256 internal constant TDX_V5_BODY_1_0 = 1;
    uint256 internal constant TDX_V5_BODY_1_5 = 2;
    uint256 internal constant READABLE_KINDS = 3;
    uint256 internal constant SGX_V3 = 3;
    uint256 internal constant SGX_V4 = 4;
    uint256 internal constant SGX_V5 = 5;
    uint256 internal constant TDX_V5_OTHER_BODY = 6;
    uint256 internal constant TDX_V6 = 7;
    uint256 internal constant KINDS = 8;

    bytes internal constant SPKI_PREFIX = hex"3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    uint256 private constant _BEFORE_REPORT_DATA = 520;
    uint256 private constant _AFTER_REPORT_DATA = 200;

    function k256Pubkey(bytes32 seed) internal pure returns (bytes memory) {
        return abi.encodePacked(uint256(seed) % 2 == 0 ? bytes1(0x02) : bytes1(0x03), keccak256(abi.encode(seed, "k256")));
    }

    function caPubkey(bytes32 seed) internal pure returns (bytes memory) {
        return abi.encodePacked(SPKI_PREFIX, keccak256(abi.encode(seed, "x")), keccak256(abi.encode(seed, "y")));
    }

    /// What a KMS puts in its quote when it makes its keys.
    function reportData(bytes memory k256, bytes memory ca) internal pure returns (bytes memory) {
        bytes32 binding = keccak256(bytes.concat("dstack-kms-genereted-keys-v1:", _hex(ca), ";", _hex(k256), ";"));
        return abi.encodePacked(binding, bytes32(0));
    }

    function quote(uint256 kind, bytes memory data) internal pure returns (bytes memory) {
        return bytes.concat(_header(kind), new bytes(_BEFORE_REPORT_DATA), data, new bytes(_AFTER_REPORT_DATA));
    }

    /// Where the report data of a readable kind is.
    function reportDataOffset(uint256 kind) internal pure returns (uint256) {
        return _header(kind).length + _BEFORE_REPORT_DATA;
    }

    function info(bytes32 seed, uint256 kind, bytes memory eventlog) internal pure returns (IKmsAuth.KmsInfo memory) {
        (bytes memory k256, bytes memory ca) = (k256Pubkey(seed), caPubkey(seed));
        return IKmsAuth.KmsInfo(k256, ca, quote(kind, reportData(k256, ca)), eventlog);
    }

    function _header(uint256 kind) private pure returns (bytes memory) {
        bytes memory rest = new bytes(40);
        if (kind == TDX_V4) return bytes.concat(hex"0400020081000000", rest);
        if (kind == TDX_V5_BODY_1_0) return bytes.concat(hex"0500020081000000", rest, hex"020048020000");
        if (kind == TDX_V5_BODY_1_5) return bytes.concat(hex"0500020081000000", rest, hex"030088020000");
        if (kind == SGX_V3) return bytes.concat(hex"0300020000000000", rest);
        if (kind == SGX_V4) return bytes.concat(hex"0400020000000000", rest);
        if (kind == SGX_V5) return bytes.concat(hex"0500020000000000", rest, hex"010080010000");
        if (kind == TDX_V5_OTHER_BODY) return bytes.concat(hex"0500020081000000", rest, hex"010048020000");
        return bytes.concat(hex"0600020081000000", rest);
    }

    function _hex(bytes memory data) private pure returns (bytes memory text) {
        bytes memory digits = "0123456789abcdef";
        text = new bytes(2 * data.length);
        for (uint256 i = 0; i < data.length; ++i) {
            text[2 * i] = digits[uint8(data[i]) / 16];
            text[2 * i + 1] = digits[uint8(data[i]) % 16];
        }
    }
}
