// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title The one question every app contract must answer
/// @notice The address of the contract that answers is the app id.
/// @dev ERC-165 id `0x1e079198`: the selector of {isAppAllowed} alone. Widening this interface would change the id that deployed
///      tooling looks for, so a further capability gets an interface, and an id, of its own.
interface IAppAuth {
    /// @notice What a verifier learned from the attestation of one virtual machine.
    /// @param appId Address of the app's contract.
    /// @param composeHash SHA-256 of the app's compose document.
    /// @param instanceId The instance, or zero where the app has instance ids disabled.
    /// @param deviceId Hash of the platform's identity.
    /// @param mrAggregated Hash over all measurement registers.
    /// @param mrSystem Hash over the registers that the app does not influence.
    /// @param osImageHash The OS image; the asker compares it with the registers after this answer.
    /// @param tcbStatus The platform's TCB status in the vendor's words, such as `UpToDate`.
    /// @param advisoryIds The vendor's advisories that apply to the platform.
    struct AppBootInfo {
        address appId;
        bytes32 composeHash;
        address instanceId;
        bytes32 deviceId;
        bytes32 mrAggregated;
        bytes32 mrSystem;
        bytes32 osImageHash;
        string tcbStatus;
        string[] advisoryIds;
    }

    /// @notice May this virtual machine have the app's keys?
    /// @param bootInfo Verified facts about the machine.
    /// @return isAllowed Whether the keys may be released.
    /// @return reason Empty when allowed, else the first rule that failed. The texts are part of the interface.
    function isAppAllowed(AppBootInfo calldata bootInfo) external view returns (bool isAllowed, string memory reason);
}
