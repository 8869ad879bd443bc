// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title The terms on which a trust domain is handed over to an access manager
/// @notice Deployed before anything is handed over: the deployment fails, and with it the hand-over, when the terms are unsafe.
/// @dev Role ids: 0 admin, 1 curator, 2 upgrader, 3 guardian, 4 operator. One account may hold several roles, each with its own delay,
///      with one exception: the guardian holds no other, because nobody vetoes himself.
interface IGovernanceTerms {
    /// @notice Who shall hold which power, and how long each power waits. Delays are in seconds; the guardian has none.
    /// @param kmsAuth The trust domain; the deployer of the terms must own it.
    /// @param curator Adds, sets and registers.
    /// @param upgrader Replaces code and moves ownership; also everything that no other role has.
    /// @param guardian Removes, suspends, pauses and cancels.
    /// @param operator Ends a pause or a suspension.
    /// @param admin Grants and takes roles.
    /// @param curatorDelay Wait of the curator.
    /// @param upgraderDelay Wait of the upgrader.
    /// @param operatorDelay Wait of the operator.
    /// @param adminDelay Wait of the admin; zero stands for the upgrader's.
    struct Terms {
        address kmsAuth;
        address curator;
        address upgrader;
        address guardian;
        address operator;
        address admin;
        uint256 curatorDelay;
        uint256 upgraderDelay;
        uint256 operatorDelay;
        uint256 adminDelay;
    }

    /// @notice The terms were found safe.
    /// @param deployer Owner of the trust domain until the hand-over.
    /// @param terms The terms, with the admin's delay as it will be.
    event GovernanceTermsAccepted(address indexed deployer, Terms terms);

    /// @notice A role has no holder.
    /// @param roleId The role.
    error ZeroHolder(uint64 roleId);

    /// @notice The deployer gives up the admin role at the end, so nobody would be left.
    /// @param deployer The deployer, named as admin.
    error AdminIsDeployer(address deployer);

    /// @notice The guardian holds another role too: who can stop a change must not be who makes it.
    /// @param roleId The other role.
    /// @param holder The holder of both.
    error GuardianHoldsAnotherRole(uint64 roleId, address holder);

    /// @notice A role's holder is the trust domain itself, which never calls the access manager.
    /// @param roleId The role.
    /// @param holder The trust domain.
    error HolderIsTrustDomain(uint64 roleId, address holder);

    /// @notice A role would wait too short to be stopped, or so long that it is a mistake.
    /// @param roleId The role.
    /// @param minimum Least delay in seconds.
    /// @param maximum Greatest delay in seconds.
    /// @param received The delay as given.
    error DelayOutOfRange(uint64 roleId, uint256 minimum, uint256 maximum, uint256 received);

    /// @notice The address does not answer as a trust domain does.
    /// @param kmsAuth The address.
    error NotATrustDomain(address kmsAuth);

    /// @notice The trust domain belongs to somebody else, so it is not the deployer's to hand over.
    /// @param expected The deployer.
    /// @param received The owner.
    error DeployerIsNotOwner(address expected, address received);

    /// @notice The admin's delay as it will be.
    /// @return In seconds.
    function adminDelay() external view returns (uint32);
}
