// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {KmsAuth} from "../KmsAuth.sol";
import {GovernedCalls} from "./GovernedCalls.sol";
import {Vm} from "./TestBase.sol";

/// @dev How many words, and how many accounts: by role, then the deployer and a stranger.
uint256 constant KINDS = 18;
uint256 constant ACTORS = 7;

/// @title What a governed trust domain allows at a moment, and what makes it allow more
/// @notice One word for each kind of addition. Removals change the words too, but are no additions.
library GovernedState {
    uint256 internal constant TCB_STATUS = 5;
    uint256 internal constant PENDING_OWNER = 10;
    uint256 internal constant SWITCHES = 11;
    uint256 internal constant UNPAUSED = 13;
    uint256 internal constant NOT_SUSPENDED = 14;
    uint256 internal constant MEMBERS = 15;
    uint256 internal constant DELAYS = 16;
    uint256 internal constant RULES = 17;

    Vm private constant _VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes32 private constant _IMPLEMENTATION = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;
    uint256 private constant _DELAY_BITS = 32;

    function readFrom(
        KmsAuth kms,
        AccessManager manager,
        address[ACTORS] memory actors
    ) internal view returns (uint256[KINDS] memory s) {
        for (uint256 i = 0; i < GovernedCalls.POOL; ++i) {
            if (kms.kmsAllowedAggregatedMrs(GovernedCalls.word(i))) s[0] |= 1 << i;
            if (kms.kmsAllowedDeviceIds(GovernedCalls.word(i))) s[1] |= 1 << i;
            if (kms.allowedOsImages(GovernedCalls.word(i))) s[2] |= 1 << i;
            if (kms.acceptedAdvisories(GovernedCalls.advisory(i))) s[3] |= 1 << (i % 2);
            if (kms.registeredApps(GovernedCalls.appId(i))) s[4] |= 1 << i;
            if (!kms.suspendedApps(GovernedCalls.appId(i))) s[NOT_SUSPENDED] |= 1 << i;
        }
        s[TCB_STATUS] = kms.tcbStatusAcceptedUntil(GovernedCalls.STATUS);
        s[6] = _hashOfKmsInfo(kms);
        s[7] = uint256(keccak256(bytes(kms.gatewayAppId())));
        s[8] = uint160(kms.appImplementation());
        s[9] = uint256(_VM.load(address(kms), _IMPLEMENTATION));
        s[PENDING_OWNER] = uint160(kms.pendingOwner());
        s[SWITCHES] = kms.hardening();
        s[12] = uint160(kms.quoteVerifier());
        s[UNPAUSED] = kms.paused() ? 0 : 1;
        (s[MEMBERS], s[DELAYS]) = _roles(manager, actors);
        s[RULES] = _hashOfRules(manager, address(kms));
    }

    /// @dev Whether the second word allows something that the first did not.
    function isAddition(uint256 kind, uint256 before, uint256 later) internal pure returns (bool) {
        if (kind == TCB_STATUS) return later > before;
        if (kind == PENDING_OWNER) return later != before && later != 0;
        if (kind < TCB_STATUS || kind == UNPAUSED || kind == NOT_SUSPENDED || kind == MEMBERS) return later & ~before != 0;
        if (kind != DELAYS) return later != before;
        for (uint256 shift = 0; shift < 5 * _DELAY_BITS; shift += _DELAY_BITS) {
            if (uint32(later >> shift) < uint32(before >> shift)) return true;
        }
        return false;
    }

    /// @dev The kind that a call of the trust domain can add to; the calls of the upgrader that carry others can add to every kind.
    function canAdd(bytes4 selector, uint256 kind) internal view returns (bool) {
        if (
            selector == bytes4(keccak256("multicall(bytes[])")) ||
            selector == bytes4(keccak256("upgradeToAndCall(address,bytes)"))
        ) return kind < MEMBERS;
        (uint8[11] memory ofCurator, uint8[6] memory ofUpgrader) = ([0, 1, 2, 5, 3, 6, 6, 6, 7, 4, 8], [9, 10, 10, 10, 11, 12]);
        for (uint256 which = 0; which < 26; ++which) {
            if (bytes4(GovernedCalls.ofKms(which, 0, address(0), address(0))) != selector) continue;
            if (which < 11) return ofCurator[which] == kind;
            if (which == 18) return kind == UNPAUSED;
            if (which == 19) return kind == NOT_SUSPENDED;
            return which > 19 && ofUpgrader[which - 20] == kind;
        }
        return false;
    }

    function _hashOfKmsInfo(KmsAuth kms) private view returns (uint256) {
        (bytes memory k256, bytes memory ca, bytes memory quote, bytes memory eventlog) = kms.kmsInfo();
        return uint256(keccak256(abi.encode(k256, ca, quote, eventlog)));
    }

    /// @dev A bit for each role and account; and the delays of those who had the roles first, as they will be.
    function _roles(AccessManager manager, address[ACTORS] memory actors) private view returns (uint256 members, uint256 delays) {
        for (uint64 roleId = 0; roleId < 6; ++roleId) {
            for (uint256 i = 0; i < ACTORS; ++i) {
                (uint48 since, uint32 delay, uint32 pending, uint48 effect) = manager.getAccess(roleId, actors[i]);
                if (since != 0) members |= 1 << (roleId * ACTORS + i);
                if (effect != 0) delay = pending;
                if (i == roleId) delays |= uint256(since == 0 ? type(uint32).max : delay) << (roleId * _DELAY_BITS);
            }
        }
    }

    function _hashOfRules(AccessManager manager, address kms) private view returns (uint256 rules) {
        for (uint64 roleId = 0; roleId < 6; ++roleId) {
            rules = uint256(keccak256(abi.encode(rules, manager.getRoleAdmin(roleId), manager.getRoleGuardian(roleId))));
        }
        rules = uint256(keccak256(abi.encode(rules, manager.getTargetFunctionRole(kms, KmsAuth.addOsImageHash.selector))));
        return uint256(keccak256(abi.encode(rules, manager.isTargetClosed(kms), manager.isTargetClosed(address(manager)))));
    }
}
