// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Platforms that are behind, accepted until a date
/// @notice A platform passes when its TCB status is `UpToDate`, or when its status is accepted, the date has not passed and every
///         advisory it reports is accepted. With nothing accepted only `UpToDate` passes, whatever the advisories.
/// @dev Statuses and advisory ids are the vendor's own words, compared byte by byte. A change that changes nothing emits nothing.
interface ITcbAcceptance {
    /// @notice A TCB status passes until a date.
    /// @param tcbStatus The status in the vendor's words.
    /// @param until Last second, Unix time, at which it passes.
    event TcbStatusAccepted(string tcbStatus, uint64 until);

    /// @notice A TCB status passes no longer.
    /// @param tcbStatus The status in the vendor's words.
    event TcbStatusWithdrawn(string tcbStatus);

    /// @notice An advisory no longer keeps an accepted status from passing.
    /// @param advisoryId The advisory's id.
    event AdvisoryAccepted(string advisoryId);

    /// @notice An advisory keeps every accepted status from passing.
    /// @param advisoryId The advisory's id.
    event AdvisoryWithdrawn(string advisoryId);

    /// @notice This status is never a matter of acceptance: `UpToDate` always passes, `Revoked` never does.
    /// @param tcbStatus The status as given.
    error TcbStatusNotAcceptable(string tcbStatus);

    /// @notice The last second of an acceptance lies in the past, or too far ahead to be a date somebody meant.
    /// @param earliest Earliest time that is taken: the block's.
    /// @param latest Latest time that is taken: two years on.
    /// @param received The time as given.
    error AcceptanceDateOutOfRange(uint256 earliest, uint256 latest, uint256 received);

    /// @notice Accepts a TCB status until a date; a repeat moves the date.
    /// @param tcbStatus The status, 1 to 64 bytes.
    /// @param until Last second, Unix time, at which it passes: not past, at most two years ahead.
    function acceptTcbStatus(string calldata tcbStatus, uint64 until) external;

    /// @notice Takes an acceptance back at once.
    /// @param tcbStatus The status in the vendor's words.
    function withdrawTcbStatus(string calldata tcbStatus) external;

    /// @notice Accepts an advisory for platforms whose status is accepted.
    /// @param advisoryId The advisory's id, 1 to 64 bytes.
    function acceptAdvisory(string calldata advisoryId) external;

    /// @notice Takes the acceptance of an advisory back at once.
    /// @param advisoryId The advisory's id.
    function withdrawAdvisory(string calldata advisoryId) external;

    /// @notice Until when a TCB status passes.
    /// @param tcbStatus The status in the vendor's words.
    /// @return Last second, Unix time; zero when it was never accepted or was withdrawn.
    function tcbStatusAcceptedUntil(string calldata tcbStatus) external view returns (uint64);

    /// @notice Whether an advisory is accepted.
    /// @param advisoryId The advisory's id.
    /// @return Whether it is.
    function acceptedAdvisories(string calldata advisoryId) external view returns (bool);
}
