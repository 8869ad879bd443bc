// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {AppAuth} from "../AppAuth.sol";
import {KmsAuth} from "../KmsAuth.sol";
import {GovernedCalls} from "./GovernedCalls.sol";

/// @title A trust domain in the hands of an access manager, as the deployment module leaves it
/// @notice The contract is the deployer: it hands over as it is built, and keeps nothing. Something is listed, stopped and suspended,
///         so that there is something to remove and to give back.
contract GovernedDomain {
    uint64 public constant UPGRADER = 2;
    uint64 public constant GUARDIAN = 3;
    uint64 public constant MANAGEMENT = 5;
    /// @dev `KeepOwner` and `FactoryOnly`: with the others off no input is refused for its form, so that calls get further.
    uint256 private constant _SWITCHES = 2 + 8;

    AccessManager public immutable MANAGER;
    KmsAuth public immutable KMS;
    address public immutable NEXT;

    /// @dev `holders` and `delays` by role: admin, curator, upgrader, guardian, operator.
    constructor(address[5] memory holders, uint32[5] memory delays) {
        bytes memory initData = abi.encodeCall(KmsAuth.initialize, (address(this), address(new AppAuth())));
        KMS = KmsAuth(address(new ERC1967Proxy(address(new KmsAuth()), initData)));
        KMS.setHardening(_SWITCHES);
        KMS.addOsImageHash(GovernedCalls.word(1));
        KMS.pause();
        KMS.suspendApp(GovernedCalls.appId(1));
        NEXT = address(new KmsAuth());
        MANAGER = new AccessManager(address(this));
        KMS.transferOwnership(address(MANAGER));
        MANAGER.execute(address(KMS), abi.encodeWithSignature("acceptOwnership()"));
        _mapFunctions();
        for (uint64 roleId = 0; roleId < 5; ++roleId) MANAGER.grantRole(roleId, holders[roleId], delays[roleId]);
        for (uint64 roleId = 0; roleId < 5; ++roleId) {
            if (delays[roleId] != 0) MANAGER.setGrantDelay(roleId, delays[roleId]);
        }
        MANAGER.setTargetAdminDelay(address(KMS), delays[0]);
        MANAGER.setTargetAdminDelay(address(MANAGER), delays[0]);
        MANAGER.renounceRole(0, address(this));
    }

    function _mapFunctions() private {
        for (uint256 which = 0; which < GovernedCalls.KMS_CALLS; ++which) {
            _map(address(KMS), GovernedCalls.ofKms(which, 0, address(0), address(0)), GovernedCalls.roleOf(which));
        }
        for (uint256 which = 0; which < GovernedCalls.CANCELLABLE_CALLS; ++which) {
            _map(address(MANAGER), GovernedCalls.ofManager(which, 0, address(0), address(0)), MANAGEMENT);
        }
        for (uint64 roleId = 1; roleId < 6; ++roleId) {
            if (roleId != GUARDIAN) MANAGER.setRoleGuardian(roleId, GUARDIAN);
        }
    }

    function _map(address target, bytes memory data, uint64 roleId) private {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = bytes4(data);
        MANAGER.setTargetFunctionRole(target, selectors, roleId);
    }
}
