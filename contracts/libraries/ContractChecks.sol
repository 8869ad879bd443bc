// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC1822Proxiable} from "@openzeppelin/contracts/interfaces/draft-IERC1822.sol";
import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {ERC165Checker} from "@openzeppelin/contracts/utils/introspection/ERC165Checker.sol";
import {IKmsAuthHardening} from "../interfaces/IKmsAuthHardening.sol";
import {IRefusals} from "../interfaces/IRefusals.sol";

/// @title What an address must be before a trust domain relies on it
/// @notice Code of its own, an implementation behind proxies, the interfaces it is used by.
library ContractChecks {
    /// @dev EIP-7702: the code of an externally owned account is this designator and an address. Its key can change it any time.
    bytes3 private constant DELEGATION = 0xef0100;
    uint256 private constant DELEGATION_BYTES = 23;

    function requireCode(address account) internal view {
        uint256 size = account.code.length;
        if (size == 0 || (size == DELEGATION_BYTES && bytes3(account.code) == DELEGATION)) revert IRefusals.NotAContract(account);
    }

    function requireInterface(address account, bytes4 interfaceId) internal view {
        if (!ERC165Checker.supportsInterface(account, interfaceId)) revert IRefusals.MissingInterface(account, interfaceId);
    }

    /// @dev A proxy would take any code: without this answer no app made with it could ever be upgraded.
    function requireProxiable(address implementation) internal view {
        bytes32 expected = ERC1967Utils.IMPLEMENTATION_SLOT;
        (bool success, bytes32 answer, ) = LowLevelCall.staticcallReturn64Bytes(
            implementation,
            abi.encodeCall(IERC1822Proxiable.proxiableUUID, ())
        );
        if (!success || LowLevelCall.returnDataSize() < 32 || answer != expected) {
            revert IKmsAuthHardening.NotProxiable(implementation, expected);
        }
    }
}
