// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {AppAuth} from "../AppAuth.sol";
import {KmsAuth} from "../KmsAuth.sol";

/// @title The few cheat codes that the property tests use
interface Vm {
    /// @notice The next call comes from this account.
    /// @param sender The account.
    function prank(address sender) external;

    /// @notice The next call must revert.
    function expectRevert() external;

    /// @notice The next call must revert with this data.
    /// @param revertData The data.
    function expectRevert(bytes calldata revertData) external;

    /// @notice Discards this input when the condition is false.
    /// @param condition The condition.
    function assume(bool condition) external pure;

    /// @notice Reads a word of another account's storage.
    /// @param target The account.
    /// @param slot The slot.
    /// @return word The word.
    function load(address target, bytes32 slot) external view returns (bytes32 word);
}

/// @title A trust domain for property tests
/// @notice Deploys both contracts as they are deployed for real.
abstract contract TestBase {
    Vm internal constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes32 internal constant INITIALIZABLE = 0xf0c57e16840df040f15088dc2f81fe391c3923bec73e23a9662efc9c229c6a00;

    AppAuth internal appImplementation;
    KmsAuth internal kms;

    /// @notice A property does not hold.
    error Failed(string what);

    function setUp() public virtual {
        appImplementation = new AppAuth();
        bytes memory initData = abi.encodeCall(KmsAuth.initialize, (address(this), address(appImplementation)));
        kms = KmsAuth(address(new ERC1967Proxy(address(new KmsAuth()), initData)));
    }

    function check(bool condition, string memory what) internal pure {
        if (!condition) revert Failed(what);
    }

    function checkAnswer(bool isAllowed, string memory reason, string memory expected) internal pure {
        check(isAllowed == (bytes(expected).length == 0), expected);
        check(keccak256(bytes(reason)) == keccak256(bytes(expected)), expected);
    }

    function checkInitializedOnce(address proxy) internal view {
        check(uint256(VM.load(proxy, INITIALIZABLE)) == 1, "initialized once");
    }

    function checkZero(address proxy, uint256 firstSlot, uint256 lastSlot) internal view {
        for (uint256 slot = firstSlot; slot < lastSlot + 1; ++slot) {
            check(VM.load(proxy, bytes32(slot)) == 0, "gap slot");
        }
    }

    function newApp(bytes memory initData) internal returns (AppAuth) {
        return AppAuth(address(new ERC1967Proxy(address(appImplementation), initData)));
    }
}
