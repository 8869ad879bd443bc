// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IQuoteVerifier} from "../interfaces/IQuoteVerifier.sol";

/// @title Verifier that answers what it was told
contract AnsweringVerifier is IQuoteVerifier {
    bool private _success;
    bytes private _output;

    constructor(bool success, bytes memory output) {
        _success = success;
        _output = output;
    }

    function verifyAndAttestOnChain(bytes calldata) external payable override returns (bool, bytes memory) {
        return (_success, _output);
    }
}

/// @title Verifier that makes calls of its own while it is asked, and then accepts
contract ReenteringVerifier is IQuoteVerifier {
    address private _target;
    bytes[] private _calls;
    uint256 public succeeded;

    function aim(address target, bytes calldata data) external {
        _target = target;
        _calls.push(data);
    }

    function verifyAndAttestOnChain(bytes calldata) external payable override returns (bool, bytes memory) {
        for (uint256 i = 0; i < _calls.length; ++i) {
            (bool done, ) = _target.call(_calls[i]);
            if (done) ++succeeded;
        }
        return (true, "");
    }
}
