// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title The four list changes that tooling may rely on for any app contract
/// @notice Only the app's owner may call them. Each is idempotent: repeating a change succeeds and emits again.
/// @dev ERC-165 id `0x8fd37527`. Widening this interface would change the id.
interface IAppAuthBasicManagement {
    /// @notice A compose document may boot from now on.
    /// @param composeHash SHA-256 of the document.
    event ComposeHashAdded(bytes32 composeHash);

    /// @notice A compose document may no longer boot.
    /// @param composeHash SHA-256 of the document.
    event ComposeHashRemoved(bytes32 composeHash);

    /// @notice A device may run the app from now on.
    /// @param deviceId Hash of the platform's identity.
    event DeviceAdded(bytes32 deviceId);

    /// @notice A device may no longer run the app.
    /// @param deviceId Hash of the platform's identity.
    event DeviceRemoved(bytes32 deviceId);

    /// @notice Lists a compose document.
    /// @param composeHash SHA-256 of the document.
    function addComposeHash(bytes32 composeHash) external;

    /// @notice Takes a compose document off the list.
    /// @dev Keys already released to machines that run it are not recalled.
    /// @param composeHash SHA-256 of the document.
    function removeComposeHash(bytes32 composeHash) external;

    /// @notice Lists a device.
    /// @param deviceId Hash of the platform's identity.
    function addDevice(bytes32 deviceId) external;

    /// @notice Takes a device off the list. It may still run the app while any device is allowed.
    /// @param deviceId Hash of the platform's identity.
    function removeDevice(bytes32 deviceId) external;
}
