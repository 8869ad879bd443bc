// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title What an app may do beyond the deployed interface
/// @notice A frozen policy, and the exchange of one compose document for another in one step.
/// @dev The ERC-165 id is the XOR of the selectors below: a factory of strict apps asks for it.
interface IAppAuthHardening {
    /// @notice Lists, rules and acceptances can never change again.
    event PolicyFrozen();

    /// @notice The policy is frozen: this change can never be made.
    error PolicyIsFrozen();

    /// @notice The compose document to replace is not listed.
    /// @param composeHash SHA-256 of the document.
    error ComposeHashNotListed(bytes32 composeHash);

    /// @notice The compose document that shall replace another is listed already.
    /// @param composeHash SHA-256 of the document.
    error ComposeHashAlreadyListed(bytes32 composeHash);

    /// @notice Sets up a proxy in strict mode, once; the flags have events too.
    /// @param initialOwner Owner of the app.
    /// @param disableUpgrades_ Whether the code may never change.
    /// @param requireTcbUpToDate_ Whether only an up-to-date platform may run the app.
    /// @param allowAnyDevice_ Whether every device may run the app.
    /// @param initialDeviceId Device to list; zero lists none.
    /// @param initialComposeHash Compose document to list; zero lists none.
    function initializeStrict(
        address initialOwner,
        bool disableUpgrades_,
        bool requireTcbUpToDate_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external;

    /// @notice Exchanges one compose document for another: at no time are both listed, or none.
    /// @param oldComposeHash SHA-256 of a listed document.
    /// @param newComposeHash SHA-256 of a document that is not listed.
    function replaceComposeHash(bytes32 oldComposeHash, bytes32 newComposeHash) external;

    /// @notice Fixes lists, rules and acceptances for good, removals included. There is no way back but other code:
    ///         only together with disabled upgrades is the policy immutable.
    function freezePolicy() external;

    /// @notice Whether the policy is frozen.
    /// @return Whether it is.
    function policyFrozen() external view returns (bool);

    /// @notice Whether the code behind this app id can never change again.
    /// @return Whether upgrades are disabled.
    function upgradesDisabled() external view returns (bool);
}
