// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Verifier of attestation evidence on the chain
/// @notice The interface of Automata's DCAP attestation contract.
interface IQuoteVerifier {
    /// @notice Verifies evidence against the collateral that the verifier keeps.
    /// @param rawQuote The evidence.
    /// @return success Whether signatures, chain, revocation and TCB were found good.
    /// @return output What was verified; the error in text on failure.
    function verifyAndAttestOnChain(bytes calldata rawQuote) external payable returns (bool success, bytes memory output);
}
