// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable2StepUpgradeable} from "@openzeppelin/contracts-upgradeable/access/Ownable2StepUpgradeable.sol";
import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {IHardening} from "../interfaces/IHardening.sol";
import {IPolicyAudit} from "../interfaces/IPolicyAudit.sol";

/// @title The switches of both contracts, and the first two of them
/// @notice Compatible until a switch says otherwise.
/// @dev The state has a namespace of its own (ERC-7201), so that contracts with a fixed layout can inherit it; one slot, since every
///      change of a list reads it.
abstract contract Hardened is Ownable2StepUpgradeable, IHardening, IPolicyAudit {
    /// @custom:storage-location erc7201:keyward.storage.Hardening
    struct HardeningStorage {
        uint128 switches;
        bool policyFrozen;
    }

    bytes32 private constant HARDENING_STORAGE = 0x740f50752b9075ce911fe3d6b7fa4e4c862306670ae052cc3ccf4c2290f4cb00;

    bytes32 private constant HARDENING = keccak256("hardening");

    /// @inheritdoc IHardening
    function setHardening(uint256 newSwitches) external override onlyOwner {
        if (newSwitches != hardening()) _setHardening(newSwitches);
    }

    /// @inheritdoc OwnableUpgradeable
    /// @dev Without an owner nothing could be withdrawn any more, so a hardened contract keeps its owner.
    function renounceOwnership() public override onlyOwner {
        if (_isOn(Switch.KeepOwner)) revert OwnershipCannotBeRenounced();
        super.renounceOwnership();
    }

    /// @inheritdoc IHardening
    function hardening() public view override returns (uint256) {
        return _hardening().switches;
    }

    function _setHardening(uint256 newSwitches) internal virtual {
        uint256 known = _knownSwitches();
        if (newSwitches > known) revert UnknownSwitches(known, newSwitches);
        _hardening().switches = uint128(newSwitches);
        emit HardeningSet(newSwitches);
        emit PolicyChanged(msg.sender, HARDENING, bytes32(newSwitches), newSwitches != 0);
    }

    function _freezePolicy() internal {
        _hardening().policyFrozen = true;
    }

    /// @dev A strict contract refuses to list zero and says nothing of a change that changes nothing; a compatible one lists any value
    ///      and repeats itself. Removing is never refused.
    function _list(mapping(bytes32 => bool) storage list, bytes32 policy, bytes32 value, bool listed) internal returns (bool) {
        if (_isOn(Switch.StrictChanges)) {
            if (listed && value == 0) revert ZeroHash(policy);
            if (list[value] == listed) return false;
        }
        list[value] = listed;
        return true;
    }

    function _isOn(Switch name) internal view returns (bool) {
        return (hardening() >> uint256(name)) & 1 == 1;
    }

    function _isPolicyFrozen() internal view returns (bool) {
        return _hardening().policyFrozen;
    }

    /// @dev The bits of all switches: ones without a gap.
    function _knownSwitches() internal pure virtual returns (uint256);

    function _hardening() private pure returns (HardeningStorage storage $) {
        assembly {
            $.slot := HARDENING_STORAGE
        }
    }
}
