// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IPolicyAudit} from "./IPolicyAudit.sol";

/// @title The switches, lists and set-up of one app
/// @notice Setters are the owner's, idempotent, and emit on every call. The upgrade lock has no way back.
interface IAppAuthSettings is IPolicyAudit {
    /// @notice The device rule was switched.
    /// @param allowAny Whether every device may run the app.
    event AllowAnyDeviceSet(bool allowAny);

    /// @notice The TCB rule was switched.
    /// @param requireUpToDate Whether only an up-to-date platform may run the app.
    event RequireTcbUpToDateSet(bool requireUpToDate);

    /// @notice The code behind this app id can never change again. Absent when the lock was set at initialization.
    event UpgradesDisabled();

    /// @notice Sets up a proxy, TCB rule off: the form that older tools call.
    /// @param initialOwner Owner of the app; zero reverts `invalid owner address`.
    /// @param disableUpgrades_ Whether the code may never change.
    /// @param allowAnyDevice_ Whether every device may run the app.
    /// @param initialDeviceId Device to list; zero lists none.
    /// @param initialComposeHash Compose document to list; zero lists none.
    function initialize(
        address initialOwner,
        bool disableUpgrades_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external;

    /// @notice Sets up a proxy. Exactly one of the two forms succeeds, once.
    /// @param initialOwner Owner of the app; zero reverts `invalid owner address`.
    /// @param disableUpgrades_ Whether the code may never change.
    /// @param requireTcbUpToDate_ Whether only an up-to-date platform may run the app.
    /// @param allowAnyDevice_ Whether every device may run the app.
    /// @param initialDeviceId Device to list; zero lists none.
    /// @param initialComposeHash Compose document to list; zero lists none.
    function initialize(
        address initialOwner,
        bool disableUpgrades_,
        bool requireTcbUpToDate_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external;

    /// @notice Switches the device rule.
    /// @param allowAny Whether every device may run the app.
    function setAllowAnyDevice(bool allowAny) external;

    /// @notice Switches the TCB rule.
    /// @param requireUpToDate Whether only an up-to-date platform may run the app.
    function setRequireTcbUpToDate(bool requireUpToDate) external;

    /// @notice Fixes the code behind this app id for good. Lists, switches and ownership stay changeable.
    function disableUpgrades() external;

    /// @notice Whether a compose document may boot.
    /// @param composeHash SHA-256 of the document.
    /// @return Whether it is listed.
    function allowedComposeHashes(bytes32 composeHash) external view returns (bool);

    /// @notice Whether a device is listed.
    /// @param deviceId Hash of the platform's identity.
    /// @return Whether it is listed.
    function allowedDeviceIds(bytes32 deviceId) external view returns (bool);

    /// @notice Whether every device may run the app.
    /// @return The state of the switch.
    function allowAnyDevice() external view returns (bool);

    /// @notice Whether only an up-to-date platform may run the app.
    /// @return The state of the switch.
    function requireTcbUpToDate() external view returns (bool);

    /// @notice Version of this contract's interface: 2 since the TCB rule exists.
    /// @return The number 2.
    function version() external pure returns (uint256);
}
