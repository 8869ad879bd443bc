// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {IKmsAuth} from "../interfaces/IKmsAuth.sol";
import {KmsAuth} from "../KmsAuth.sol";

/// @title Every call of a governed trust domain and of its manager, chosen by a number
/// @notice Arguments come from small pools, so that a sequence of calls meets the same ones again.
library GovernedCalls {
    uint256 internal constant POOL = 4;
    /// @dev By role: the curator's come first, then the guardian's, the operator's and the upgrader's.
    uint256 internal constant CURATOR_CALLS = 11;
    uint256 internal constant GUARDIAN_CALLS = 18;
    uint256 internal constant OPERATOR_CALLS = 20;
    uint256 internal constant KMS_CALLS = 32;
    uint256 internal constant CANCELLABLE_CALLS = 9;
    uint256 internal constant MANAGER_CALLS = 11;
    string internal constant STATUS = "OutOfDate";
    uint256 private constant _ACCEPTANCE = 30 days;

    function word(uint256 seed) internal pure returns (bytes32) {
        return bytes32(1 + (seed % POOL));
    }

    function appId(uint256 seed) internal pure returns (address) {
        return address(uint160(0xa99000 + (seed % POOL)));
    }

    function advisory(uint256 seed) internal pure returns (string memory) {
        return seed % 2 == 0 ? "INTEL-SA-00001" : "INTEL-SA-00002";
    }

    function roleOf(uint256 which) internal pure returns (uint64) {
        if (which < CURATOR_CALLS) return 1;
        if (which < GUARDIAN_CALLS) return 3;
        return which < OPERATOR_CALLS ? 4 : 2;
    }

    function ofKms(uint256 which, uint256 seed, address other, address next) internal view returns (bytes memory) {
        if (which < CURATOR_CALLS) return _ofCurator(which, seed);
        if (which < OPERATOR_CALLS) return _ofGuardianOrOperator(which, seed);
        return _ofUpgrader(which, seed, other, next);
    }

    /// @dev The first ones can be cancelled by the guardian.
    function ofManager(uint256 which, uint256 seed, address other, address target) internal pure returns (bytes memory) {
        uint64 roleId = uint64(seed % 6);
        uint32 delay = uint32((seed % 3) * 4 days);
        if (which == 0) return abi.encodeCall(AccessManager.grantRole, (roleId, other, delay));
        if (which == 1) return abi.encodeCall(AccessManager.setTargetFunctionRole, (target, _anAddition(), type(uint64).max));
        if (which == 2) return abi.encodeCall(AccessManager.setRoleAdmin, (roleId, 1));
        if (which == 3) return abi.encodeCall(AccessManager.setRoleGuardian, (roleId, 1));
        if (which == 4) return abi.encodeCall(AccessManager.setGrantDelay, (roleId, delay));
        if (which == 5) return abi.encodeCall(AccessManager.setTargetAdminDelay, (target, delay));
        if (which == 6) return abi.encodeCall(AccessManager.setTargetClosed, (target, seed % 2 == 0));
        if (which == 7) return abi.encodeCall(AccessManager.updateAuthority, (target, other));
        if (which == 8) return abi.encodeCall(AccessManager.labelRole, (roleId, "label"));
        if (which == 9) return abi.encodeCall(AccessManager.revokeRole, (roleId, other));
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(AccessManager.grantRole, (roleId, other, 0));
        return abi.encodeWithSignature("multicall(bytes[])", calls);
    }

    function _ofCurator(uint256 which, uint256 seed) private view returns (bytes memory) {
        bytes memory data = abi.encodePacked(word(seed));
        if (which == 0) return abi.encodeCall(KmsAuth.addKmsAggregatedMr, (word(seed)));
        if (which == 1) return abi.encodeCall(KmsAuth.addKmsDevice, (word(seed)));
        if (which == 2) return abi.encodeCall(KmsAuth.addOsImageHash, (word(seed)));
        if (which == 3) return abi.encodeWithSignature("acceptTcbStatus(string,uint64)", STATUS, block.timestamp + _ACCEPTANCE);
        if (which == 4) return abi.encodeWithSignature("acceptAdvisory(string)", advisory(seed));
        if (which == 5) return abi.encodeCall(KmsAuth.setKmsInfo, (IKmsAuth.KmsInfo(data, data, data, data)));
        if (which == 6) return abi.encodeCall(KmsAuth.setKmsQuote, (data));
        if (which == 7) return abi.encodeCall(KmsAuth.setKmsEventlog, (data));
        if (which == 8) return abi.encodeCall(KmsAuth.setGatewayAppId, (string(data)));
        if (which == 9) return abi.encodeCall(KmsAuth.registerApp, (appId(seed)));
        return abi.encodeCall(KmsAuth.setAppImplementation, (appId(seed)));
    }

    function _ofGuardianOrOperator(uint256 which, uint256 seed) private pure returns (bytes memory) {
        if (which == 11) return abi.encodeCall(KmsAuth.removeKmsAggregatedMr, (word(seed)));
        if (which == 12) return abi.encodeCall(KmsAuth.removeKmsDevice, (word(seed)));
        if (which == 13) return abi.encodeCall(KmsAuth.removeOsImageHash, (word(seed)));
        if (which == 14) return abi.encodeWithSignature("withdrawTcbStatus(string)", STATUS);
        if (which == 15) return abi.encodeWithSignature("withdrawAdvisory(string)", advisory(seed));
        if (which == 16) return abi.encodeCall(KmsAuth.pause, ());
        if (which == 17) return abi.encodeCall(KmsAuth.suspendApp, (appId(seed)));
        if (which == 18) return abi.encodeCall(KmsAuth.unpause, ());
        return abi.encodeCall(KmsAuth.reinstateApp, (appId(seed)));
    }

    function _ofUpgrader(uint256 which, uint256 seed, address other, address next) private view returns (bytes memory) {
        if (which == 20) return abi.encodeWithSignature("upgradeToAndCall(address,bytes)", next, _ofCurator(seed % 3, seed));
        if (which == 21) return abi.encodeWithSignature("transferOwnership(address)", other);
        if (which == 22) return abi.encodeWithSignature("acceptOwnership()");
        if (which == 23) return abi.encodeWithSignature("renounceOwnership()");
        if (which == 24) return abi.encodeWithSignature("setHardening(uint256)", 2 + (seed % 2) * 8);
        if (which == 25) return abi.encodeWithSignature("setQuoteVerifier(address)", other);
        if (which == 26) return abi.encodeCall(KmsAuth.initialize, (other, other));
        if (which == 27) return abi.encodeWithSignature("initializeStrict(address,address)", other, other);
        if (which < 31) return _ofFactory(which, word(seed), other);
        bytes[] memory calls = new bytes[](2);
        (calls[0], calls[1]) = (_ofGuardianOrOperator(11 + (seed % 9), seed), _ofCurator(seed % CURATOR_CALLS, seed));
        return abi.encodeWithSignature("multicall(bytes[])", calls);
    }

    function _ofFactory(uint256 which, bytes32 id, address other) private pure returns (bytes memory) {
        if (which == 28) {
            return abi.encodeWithSignature("deployAndRegisterApp(address,bool,bool,bytes32,bytes32)", other, false, true, 0, id);
        }
        bytes memory arguments = abi.encode(other, false, true, true, 0, id);
        if (which == 29) {
            return bytes.concat(bytes4(keccak256("deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32)")), arguments);
        }
        return
            bytes.concat(
                bytes4(keccak256("deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32,bytes32)")),
                arguments,
                id
            );
    }

    function _anAddition() private pure returns (bytes4[] memory selectors) {
        selectors = new bytes4[](2);
        (selectors[0], selectors[1]) = (KmsAuth.addOsImageHash.selector, KmsAuth.addKmsDevice.selector);
    }
}
