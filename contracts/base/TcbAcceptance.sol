// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ITcbAcceptance} from "../interfaces/ITcbAcceptance.sol";
import {Hardened} from "./Hardened.sol";

/// @title The TCB rule of both contracts
/// @notice Only `UpToDate` passes, until something else is accepted.
/// @dev Its state has a namespace of its own (ERC-7201), so that contracts with a fixed layout can inherit it. All zero: the old rule.
abstract contract TcbAcceptance is Hardened, ITcbAcceptance {
    /// @dev Text is keyed by its keccak256.
    /// @custom:storage-location erc7201:keyward.storage.TcbAcceptance
    struct TcbAcceptanceStorage {
        mapping(bytes32 tcbStatusHash => uint64 until) statuses;
        mapping(bytes32 advisoryIdHash => bool) advisories;
    }

    bytes32 private constant TCB_ACCEPTANCE_STORAGE = 0x2ea73469ece72c62cf6a98225fe82a0339096bc878eac908f6fe00db390eb300;

    bytes32 private constant TCB_STATUS = keccak256("tcb-status");
    bytes32 private constant TCB_ADVISORY = keccak256("tcb-advisory");
    bytes32 private constant TCB_UP_TO_DATE = keccak256("UpToDate");
    bytes32 private constant TCB_REVOKED = keccak256("Revoked");

    /// @dev Longer than every status and advisory id there is.
    uint256 private constant MAX_TEXT_BYTES = 64;

    /// @dev A later date is a mistake, such as milliseconds: acceptance is a grace period.
    uint256 private constant MAX_ACCEPTANCE = 730 days;

    /// @inheritdoc ITcbAcceptance
    function acceptTcbStatus(string calldata tcbStatus, uint64 until) external override onlyOwner {
        _requireChangeable();
        _requireText(TCB_STATUS, tcbStatus);
        bytes32 hash = keccak256(bytes(tcbStatus));
        if (hash == TCB_UP_TO_DATE || hash == TCB_REVOKED) revert TcbStatusNotAcceptable(tcbStatus);
        uint256 latest = block.timestamp + MAX_ACCEPTANCE;
        if (until < block.timestamp || until > latest) revert AcceptanceDateOutOfRange(block.timestamp, latest, until);
        TcbAcceptanceStorage storage $ = _tcbAcceptance();
        if ($.statuses[hash] == until) return;
        $.statuses[hash] = until;
        emit TcbStatusAccepted(tcbStatus, until);
        emit PolicyChanged(msg.sender, TCB_STATUS, hash, true);
    }

    /// @inheritdoc ITcbAcceptance
    function withdrawTcbStatus(string calldata tcbStatus) external override onlyOwner {
        _requireChangeable();
        bytes32 hash = keccak256(bytes(tcbStatus));
        TcbAcceptanceStorage storage $ = _tcbAcceptance();
        if ($.statuses[hash] == 0) return;
        $.statuses[hash] = 0;
        emit TcbStatusWithdrawn(tcbStatus);
        emit PolicyChanged(msg.sender, TCB_STATUS, hash, false);
    }

    /// @inheritdoc ITcbAcceptance
    function acceptAdvisory(string calldata advisoryId) external override onlyOwner {
        _requireChangeable();
        _requireText(TCB_ADVISORY, advisoryId);
        bytes32 hash = keccak256(bytes(advisoryId));
        TcbAcceptanceStorage storage $ = _tcbAcceptance();
        if ($.advisories[hash]) return;
        $.advisories[hash] = true;
        emit AdvisoryAccepted(advisoryId);
        emit PolicyChanged(msg.sender, TCB_ADVISORY, hash, true);
    }

    /// @inheritdoc ITcbAcceptance
    function withdrawAdvisory(string calldata advisoryId) external override onlyOwner {
        _requireChangeable();
        bytes32 hash = keccak256(bytes(advisoryId));
        TcbAcceptanceStorage storage $ = _tcbAcceptance();
        if (!$.advisories[hash]) return;
        $.advisories[hash] = false;
        emit AdvisoryWithdrawn(advisoryId);
        emit PolicyChanged(msg.sender, TCB_ADVISORY, hash, false);
    }

    /// @inheritdoc ITcbAcceptance
    function tcbStatusAcceptedUntil(string calldata tcbStatus) external view override returns (uint64) {
        return _tcbAcceptance().statuses[keccak256(bytes(tcbStatus))];
    }

    /// @inheritdoc ITcbAcceptance
    function acceptedAdvisories(string calldata advisoryId) external view override returns (bool) {
        return _tcbAcceptance().advisories[keccak256(bytes(advisoryId))];
    }

    /// @dev Empty when the platform passes, else the reason of the denial.
    function _tcbDenial(string calldata tcbStatus, string[] calldata advisoryIds) internal view returns (string memory reason) {
        bytes32 hash = keccak256(bytes(tcbStatus));
        if (hash == TCB_UP_TO_DATE) return "";
        TcbAcceptanceStorage storage $ = _tcbAcceptance();
        // zero, never accepted, is always in the past
        if ($.statuses[hash] < block.timestamp) return "TCB status is not up to date";
        for (uint256 i = 0; i < advisoryIds.length; ++i) {
            if (!$.advisories[keccak256(bytes(advisoryIds[i]))]) return "TCB advisory is not accepted";
        }
        return "";
    }

    /// @dev Refuses where the policy can never change again.
    // solhint-disable-next-line no-empty-blocks
    function _requireChangeable() internal view virtual {}

    function _requireText(bytes32 policy, string calldata text) private pure {
        uint256 size = bytes(text).length;
        if (size == 0 || size > MAX_TEXT_BYTES) revert LengthOutOfRange(policy, 1, MAX_TEXT_BYTES, size);
    }

    function _tcbAcceptance() private pure returns (TcbAcceptanceStorage storage $) {
        assembly {
            $.slot := TCB_ACCEPTANCE_STORAGE
        }
    }
}
