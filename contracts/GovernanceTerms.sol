// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IGovernanceTerms} from "./interfaces/IGovernanceTerms.sol";

/// @title Refuses an unsafe hand-over of a trust domain
/// @notice All of it happens in the constructor; afterwards the contract is only the record of the terms.
contract GovernanceTerms is IGovernanceTerms {
    uint64 private constant ADMIN = 0;
    uint64 private constant CURATOR = 1;
    uint64 private constant UPGRADER = 2;
    uint64 private constant GUARDIAN = 3;
    uint64 private constant OPERATOR = 4;

    uint256 private constant LEAST_CURATOR_DELAY = 1 days;
    uint256 private constant LEAST_UPGRADER_DELAY = 2 days;
    uint256 private constant LEAST_OPERATOR_DELAY = 1 hours;
    /// @dev Far below what the access manager can count: a longer wait is a wrong unit, and would take as long to repair.
    uint256 private constant GREATEST_DELAY = 90 days;

    uint32 private immutable _ADMIN_DELAY;

    /// @notice Reverts when the terms are unsafe.
    /// @param terms The terms to check.
    constructor(Terms memory terms) {
        if (terms.adminDelay == 0) terms.adminDelay = terms.upgraderDelay;
        _checkTrustDomain(terms.kmsAuth);
        _checkHolders(terms);
        _checkDelays(terms);
        _ADMIN_DELAY = uint32(terms.adminDelay); // at most GREATEST_DELAY
        emit GovernanceTermsAccepted(msg.sender, terms);
    }

    /// @inheritdoc IGovernanceTerms
    function adminDelay() external view override returns (uint32) {
        return _ADMIN_DELAY;
    }

    /// @dev A view that only a KmsAuth has comes first: an app's contract has an owner too.
    function _checkTrustDomain(address kmsAuth) private view {
        (bool answered, ) = _askWord(kmsAuth, abi.encodeWithSignature("appAuthImplementation()"));
        (bool owned, uint256 owner) = _askWord(kmsAuth, abi.encodeWithSignature("owner()"));
        if (!answered || !owned) revert NotATrustDomain(kmsAuth);
        if (owner != uint160(msg.sender)) revert DeployerIsNotOwner(msg.sender, address(uint160(owner)));
    }

    function _checkHolders(Terms memory terms) private view {
        _checkHolder(terms, ADMIN, terms.admin);
        _checkHolder(terms, CURATOR, terms.curator);
        _checkHolder(terms, UPGRADER, terms.upgrader);
        _checkHolder(terms, GUARDIAN, terms.guardian);
        _checkHolder(terms, OPERATOR, terms.operator);
        if (terms.admin == msg.sender) revert AdminIsDeployer(msg.sender);
    }

    function _checkHolder(Terms memory terms, uint64 roleId, address holder) private pure {
        if (holder == address(0)) revert ZeroHolder(roleId);
        if (holder == terms.kmsAuth) revert HolderIsTrustDomain(roleId, holder);
        if (roleId != GUARDIAN && holder == terms.guardian) revert GuardianHoldsAnotherRole(roleId, holder);
    }

    function _checkDelays(Terms memory terms) private pure {
        uint256 leastUpgraderDelay = terms.curatorDelay > LEAST_UPGRADER_DELAY ? terms.curatorDelay : LEAST_UPGRADER_DELAY;
        _checkDelay(CURATOR, LEAST_CURATOR_DELAY, terms.curatorDelay);
        _checkDelay(UPGRADER, leastUpgraderDelay, terms.upgraderDelay);
        _checkDelay(OPERATOR, LEAST_OPERATOR_DELAY, terms.operatorDelay);
        _checkDelay(ADMIN, terms.upgraderDelay, terms.adminDelay);
    }

    function _checkDelay(uint64 roleId, uint256 minimum, uint256 received) private pure {
        if (received < minimum || received > GREATEST_DELAY) revert DelayOutOfRange(roleId, minimum, GREATEST_DELAY, received);
    }

    /// @dev An account without code answers nothing, which is not a word.
    function _askWord(address account, bytes memory question) private view returns (bool answered, uint256 word) {
        (bool done, bytes memory answer) = account.staticcall(question);
        if (!done || answer.length != 32) return (false, 0);
        return (true, abi.decode(answer, (uint256)));
    }
}
