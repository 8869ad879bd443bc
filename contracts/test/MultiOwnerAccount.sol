// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title The least that an account of several owners does: a call goes out once two of them have asked for it
/// @notice Stands in for a Safe in tests: a role holder without a key, whose calls come from a contract.
contract MultiOwnerAccount {
    uint256 private constant _THRESHOLD = 2;

    mapping(address owner => bool) public isOwner;
    mapping(bytes32 callHash => mapping(address owner => bool)) public hasAsked;
    mapping(bytes32 callHash => uint256) public askedBy;
    uint256 public round;

    /// @notice Only owners ask, and each once.
    error NotYours(address caller);

    constructor(address[] memory owners) {
        for (uint256 i = 0; i < owners.length; ++i) isOwner[owners[i]] = true;
    }

    /// @notice Asks for a call; the last owner needed makes it.
    function ask(address target, bytes calldata data) external returns (bytes memory returned) {
        bytes32 callHash = keccak256(abi.encode(round, target, data));
        if (!isOwner[msg.sender] || hasAsked[callHash][msg.sender]) revert NotYours(msg.sender);
        hasAsked[callHash][msg.sender] = true;
        if (++askedBy[callHash] < _THRESHOLD) return "";
        ++round;
        bool done;
        (done, returned) = target.call(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(returned, 32), mload(returned))
            }
        }
    }
}
