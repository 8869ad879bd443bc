// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {MulticallUpgradeable} from "@openzeppelin/contracts-upgradeable/utils/MulticallUpgradeable.sol";
import {AnyCall} from "./AnyCall.sol";
import {Vm} from "./TestBase.sol";

/// @title What ownership must be after a sequence of calls, on their own or in a batch
/// @notice Only the two-step transfer and renouncing move it, whatever else succeeded in between.
abstract contract OwnershipModel {
    Vm internal constant CHEATS = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    /// @dev One in so many chances to renounce is taken where it may succeed: the rest of a sequence without an owner says little.
    uint256 private constant RENOUNCE_RARITY = 16;
    uint256 private constant BATCH_RARITY = 4;
    uint256 private constant KEEP_OWNER = 2;
    bytes4 internal constant SET_HARDENING = bytes4(keccak256("setHardening(uint256)"));

    address public owner = AnyCall.account(0);
    address public pendingOwner;
    uint256 public switches;
    bool public unownedChange;
    bool public renouncedWhileKept;

    /// @dev Half of the calls are the owner's or the candidate's, else sequences rarely get anywhere.
    function _caller(uint256 seed, bytes4 selector) internal view returns (address) {
        if (seed % 2 == 0) return AnyCall.account(seed / 2);
        return selector == bytes4(keccak256("acceptOwnership()")) ? pendingOwner : owner;
    }

    /// @dev Every so often in a batch of one: it may do what the call itself may, and no more.
    function _call(
        address proxy,
        address caller,
        bytes memory data,
        uint256 seed
    ) internal returns (bool done, bytes memory returned) {
        bool isBatched = seed % BATCH_RARITY == 0;
        bytes[] memory batch = new bytes[](1);
        batch[0] = data;
        CHEATS.prank(caller);
        (done, returned) = proxy.call(isBatched ? abi.encodeCall(MulticallUpgradeable.multicall, (batch)) : data);
        if (done && isBatched) returned = abi.decode(returned, (bytes[]))[0];
        if (done && caller != owner && !_isAnybodys(bytes4(data))) unownedChange = true;
    }

    function _isSkipped(bytes memory data, bytes32 word) internal view returns (bool) {
        if (bytes4(data) != bytes4(keccak256("renounceOwnership()")) || switches & KEEP_OWNER != 0) return false;
        return uint256(word) % RENOUNCE_RARITY != 0;
    }

    function _followOwnership(bytes memory data) internal {
        bytes4 selector = bytes4(data);
        if (selector == bytes4(keccak256("transferOwnership(address)"))) pendingOwner = address(uint160(_argument(data)));
        if (selector == bytes4(keccak256("acceptOwnership()"))) (owner, pendingOwner) = (pendingOwner, address(0));
        if (selector == bytes4(keccak256("renounceOwnership()"))) {
            (owner, pendingOwner) = (address(0), address(0));
            if (switches & KEEP_OWNER != 0) renouncedWhileKept = true;
        }
        if (selector == SET_HARDENING) switches = _argument(data);
    }

    function _isInitializer(bytes4 selector) internal pure returns (bool) {
        return
            selector == bytes4(keccak256("initialize(address,address)")) ||
            selector == bytes4(keccak256("initializeStrict(address,address)")) ||
            selector == bytes4(keccak256("initialize(address,bool,bool,bytes32,bytes32)")) ||
            selector == bytes4(keccak256("initialize(address,bool,bool,bool,bytes32,bytes32)")) ||
            selector == bytes4(keccak256("initializeStrict(address,bool,bool,bool,bytes32,bytes32)"));
    }

    /// @dev Calls that need not be the owner's; all others must be.
    function _isAnybodys(bytes4 selector) internal pure virtual returns (bool) {
        return selector == bytes4(keccak256("acceptOwnership()"));
    }

    /// @dev The first word after the selector.
    function _argument(bytes memory data) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(data, 36))
        }
    }
}
