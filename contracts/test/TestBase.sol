// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {AppAuth} from "../AppAuth.sol";
import {KmsAuth} from "../KmsAuth.sol";

/// @title The few cheat codes that the property tests use
interface Vm {
    /// @notice A log as it was emitted.
    /// @param topics Its topics.
    /// @param data Its data.
    /// @param emitter Who emitted it.
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

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

    /// @notice Moves the clock.
    /// @param timestamp Unix time of the blocks from now on.
    function warp(uint256 timestamp) external;

    /// @notice Gives an account this code.
    /// @param target The account.
    /// @param code The code.
    function etch(address target, bytes calldata code) external;

    /// @notice Keeps the logs from now on.
    function recordLogs() external;

    /// @notice The logs since {recordLogs} or the last call of this.
    /// @return logs The logs in their order.
    function getRecordedLogs() external returns (Log[] memory logs);

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

    /// @dev All switches on from the first block; the test owns it.
    function setUpStrict() internal {
        kms = newStrictKms(address(this));
    }

    function newStrictKms(address owner) internal returns (KmsAuth) {
        bytes memory initData = abi.encodeCall(KmsAuth.initializeStrict, (owner, address(appImplementation)));
        return KmsAuth(address(new ERC1967Proxy(address(new KmsAuth()), initData)));
    }

    /// @dev An app in strict mode that lists nothing; the test owns it.
    function newStrictApp(bool tcbRule, bool anyDevice) internal returns (AppAuth) {
        return
            newApp(abi.encodeCall(AppAuth.initializeStrict, (address(this), false, tcbRule, anyDevice, bytes32(0), bytes32(0))));
    }

    /// @dev The call succeeds, and so many logs come of it.
    function checkLogs(address target, bytes memory data, uint256 expected) internal {
        VM.recordLogs();
        (bool done, ) = target.call(data);
        check(done, "call");
        check(VM.getRecordedLogs().length == expected, "logs");
    }

    /// @dev The first call tells of a change by an event of its own and the audit event, the repeat tells nothing.
    function checkQuietRepeat(address target, bytes memory data) internal {
        checkLogs(target, data, 2);
        checkLogs(target, data, 0);
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
