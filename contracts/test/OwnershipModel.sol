// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AnyCall} from "./AnyCall.sol";
import {Vm} from "./TestBase.sol";

/// @title What ownership must be after a sequence of calls
/// @notice Only the two-step transfer and renouncing move it, whatever else succeeded in between.
abstract contract OwnershipModel {
    Vm internal constant CHEATS = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    /// @dev One in so many chances to renounce is taken: the rest of a sequence without an owner says little.
    uint256 private constant RENOUNCE_RARITY = 16;

    address public owner = AnyCall.account(0);
    address public pendingOwner;

    /// @dev Half of the calls are the owner's or the candidate's, else sequences rarely get anywhere.
    function _caller(uint256 seed, bytes4 selector) internal view returns (address) {
        if (seed % 2 == 0) return AnyCall.account(seed / 2);
        return selector == bytes4(keccak256("acceptOwnership()")) ? pendingOwner : owner;
    }

    function _call(address proxy, address caller, bytes memory data) internal returns (bool done, bytes memory returned) {
        CHEATS.prank(caller);
        return proxy.call(data);
    }

    function _isSkipped(bytes memory data, bytes32 word) internal pure returns (bool) {
        return bytes4(data) == bytes4(keccak256("renounceOwnership()")) && uint256(word) % RENOUNCE_RARITY != 0;
    }

    function _followOwnership(bytes memory data, bytes32 word) internal {
        bytes4 selector = bytes4(data);
        if (selector == bytes4(keccak256("transferOwnership(address)"))) pendingOwner = AnyCall.account(uint256(word));
        if (selector == bytes4(keccak256("acceptOwnership()"))) (owner, pendingOwner) = (pendingOwner, address(0));
        if (selector == bytes4(keccak256("renounceOwnership()"))) (owner, pendingOwner) = (address(0), address(0));
    }
}
