// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title One event for every change of policy
/// @notice Replaying it gives the current policy, whichever contract emitted it, without knowing the specific events.
interface IPolicyAudit {
    /// @notice A rule was set or withdrawn.
    /// @param actor The caller in the emitting frame: for an app made by the factory, the KMS contract.
    /// @param policy keccak256 of the rule's name in ASCII, such as `compose-hash`.
    /// @param value The listed bytes32, an address padded on the left, the keccak256 of dynamic data, or zero for a switch.
    /// @param enabled Whether the rule now holds.
    event PolicyChanged(address indexed actor, bytes32 indexed policy, bytes32 indexed value, bool enabled);
}
