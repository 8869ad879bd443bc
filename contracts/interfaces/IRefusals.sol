// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Refusals of input that strict contracts, and all functions without a predecessor, share
/// @notice Typed, with what was expected and what came.
/// @dev A compatible contract never raises them from a function of the deployed interface.
interface IRefusals {
    /// @notice A hash is zero, which identifies nothing.
    /// @param policy keccak256 of the rule's name in ASCII, as in the audit event.
    error ZeroHash(bytes32 policy);

    /// @notice An address is zero.
    /// @param policy keccak256 of the rule's name in ASCII, as in the audit event.
    error ZeroAddress(bytes32 policy);

    /// @notice Bytes or text have a length that is not allowed.
    /// @param policy keccak256 of the rule's name in ASCII, as in the audit event.
    /// @param minimum Least length in bytes.
    /// @param maximum Greatest length in bytes.
    /// @param received Length of what was given.
    error LengthOutOfRange(bytes32 policy, uint256 minimum, uint256 maximum, uint256 received);

    /// @notice An address has no code of its own: none at all, or a delegation of an externally owned account.
    /// @param account The address.
    error NotAContract(address account);

    /// @notice A contract does not answer an interface that it must have.
    /// @param account The contract.
    /// @param interfaceId ERC-165 id that it denies, or does not answer.
    error MissingInterface(address account, bytes4 interfaceId);

    /// @notice Ownership cannot be given up: nobody could withdraw anything any more.
    error OwnershipCannotBeRenounced();
}
