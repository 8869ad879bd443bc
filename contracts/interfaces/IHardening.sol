// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IRefusals} from "./IRefusals.sol";

/// @title The switches of a contract that is stricter than its predecessor
/// @notice All off is compatible mode: what a proxy is that was initialized the compatible way, or upgraded. All on is strict mode.
/// @dev Functions without a predecessor follow the strict rules in every mode: a change that changes nothing emits nothing and does
///      not revert.
interface IHardening is IRefusals {
    /// @notice The switches; each is the bit of its position, the first being 1. An app has the first two.
    /// @dev `StrictChanges`: zero and oversized input is refused, a change that changes nothing emits nothing, initial flags and every
    ///      other change are audited; root keys and their evidence follow `CheckRootKeys` alone. `KeepOwner`: ownership cannot be
    ///      renounced. `CheckRootKeys`: root keys must be bound by the evidence published with them, which is kept as contract code.
    ///      `FactoryOnly`: apps are registered by the factory or by the owner. `CheckContracts`: app contracts and implementations
    ///      must have code and the right interfaces. `BoundedAppCalls`: an app contract gets limited gas and return space, and its
    ///      failure is a denial, not a revert. `StrictApps`: the factory makes strict apps.
    enum Switch {
        StrictChanges,
        KeepOwner,
        CheckRootKeys,
        FactoryOnly,
        CheckContracts,
        BoundedAppCalls,
        StrictApps
    }

    /// @notice The switches were set.
    /// @param switches The bits of those that are on now.
    event HardeningSet(uint256 switches);

    /// @notice A switch is none that this contract has.
    /// @param known The bits of all it has.
    /// @param received The bits as given.
    error UnknownSwitches(uint256 known, uint256 received);

    /// @notice Sets all switches at once.
    /// @param newSwitches The bits of those that shall be on.
    function setHardening(uint256 newSwitches) external;

    /// @notice The switches that are on.
    /// @return Their bits.
    function hardening() external view returns (uint256);
}
