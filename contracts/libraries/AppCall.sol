// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {IAppAuth} from "../interfaces/IAppAuth.sol";

/// @title A question to an app contract
/// @notice The bounded form cannot hurt the asker: gas and return space are limited, and every failure is a denial with a reason.
library AppCall {
    /// @dev Forty times what an app contract of the usual kind needs with ten advisories.
    uint256 internal constant MAX_GAS = 3_000_000;

    /// @dev Room for a reason of about 4,000 bytes; askers cut reasons far earlier.
    uint256 internal constant MAX_ANSWER_BYTES = 4_096;

    /// @dev A boolean, an offset and a length: the shortest encoding of `(bool, string)`.
    uint256 private constant MIN_ANSWER_BYTES = 96;

    function isAppAllowed(
        IAppAuth.AppBootInfo calldata bootInfo,
        bool bounded
    ) internal view returns (bool isAllowed, string memory reason) {
        bytes memory question = abi.encodeCall(IAppAuth.isAppAllowed, (bootInfo));
        return bounded ? _askBounded(bootInfo.appId, question) : _ask(bootInfo.appId, question);
    }

    /// @dev As the compiler calls: what the app reverts with is reverted with, and an answer that cannot be decoded reverts.
    function _ask(address app, bytes memory question) private view returns (bool, string memory) {
        if (!LowLevelCall.staticcallNoReturn(app, question)) LowLevelCall.bubbleRevert();
        return abi.decode(LowLevelCall.returnData(), (bool, string));
    }

    /// @dev Never reverts because of the app: it may revert, burn its gas, answer nothing, too little, too much or nonsense.
    function _askBounded(address app, bytes memory question) private view returns (bool, string memory) {
        bool success;
        assembly ("memory-safe") {
            success := staticcall(MAX_GAS, app, add(question, 32), mload(question), 0, 0)
        }
        if (!success) return (false, "App contract failed");
        uint256 size = LowLevelCall.returnDataSize();
        if (size >= MIN_ANSWER_BYTES && size <= MAX_ANSWER_BYTES) {
            (bool wellFormed, bool isAllowed, string memory reason) = _decode(LowLevelCall.returnData());
            if (wellFormed) return (isAllowed, reason);
        }
        return (false, "App contract answer is malformed");
    }

    /// @dev `answer` has at least {MIN_ANSWER_BYTES}, so no difference below is negative.
    function _decode(bytes memory answer) private pure returns (bool wellFormed, bool isAllowed, string memory reason) {
        (uint256 flag, uint256 offset) = abi.decode(answer, (uint256, uint256));
        if (flag > 1 || offset > answer.length - 32) return (false, false, "");
        assembly ("memory-safe") {
            reason := add(add(answer, 32), offset)
        }
        wellFormed = bytes(reason).length <= answer.length - 32 - offset;
        isAllowed = flag == 1;
    }
}
