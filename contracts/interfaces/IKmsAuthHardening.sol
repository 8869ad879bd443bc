// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title What a trust domain may do beyond the deployed interface
/// @notice An emergency stop, suspension of single apps, checked root keys, and app ids known in advance.
interface IKmsAuthHardening {
    /// @notice Evidence for root keys is accepted only from here on by this verifier.
    /// @param quoteVerifier The verifier; zero for none.
    event QuoteVerifierSet(address quoteVerifier);

    /// @notice Published root keys or their evidence changed while root keys are checked.
    /// @param k256PubkeyHash keccak256 of the root key of app identities.
    /// @param caPubkeyHash keccak256 of the root CA key.
    /// @param quoteHash keccak256 of the evidence.
    /// @param eventlogHash keccak256 of the event log.
    event KmsEvidenceSet(bytes32 k256PubkeyHash, bytes32 caPubkeyHash, bytes32 quoteHash, bytes32 eventlogHash);

    /// @notice An app gets no keys from now on, whatever its own contract says.
    /// @param appId Address of the app's contract.
    event AppSuspended(address indexed appId);

    /// @notice An app is back in the hands of its own contract.
    /// @param appId Address of the app's contract.
    event AppReinstated(address indexed appId);

    /// @notice A root key does not have the form that its kind has.
    /// @param policy keccak256 of `kms-k256-pubkey` or `kms-ca-pubkey`.
    /// @param expected The leading bytes that it must have, from the left.
    /// @param received The leading bytes that it has, from the left.
    error MalformedRootKey(bytes32 policy, bytes32 expected, bytes32 received);

    /// @notice The evidence speaks for other keys: its report data is not the binding of the two that were given.
    /// @param expected First half of the report data that binds the keys; its second half is zero.
    /// @param received First half of the evidence's report data.
    /// @param receivedRest Second half of the evidence's report data.
    error RootKeysNotBound(bytes32 expected, bytes32 received, bytes32 receivedRest);

    /// @notice The evidence is not a TDX quote, and there is no verifier to ask about it.
    /// @param received The leading bytes of the evidence.
    error VerifierRequired(bytes8 received);

    /// @notice The verifier refuses the evidence.
    /// @param quoteVerifier The verifier that was asked.
    error EvidenceRefused(address quoteVerifier);

    /// @notice Only the owner registers contracts that the factory did not make.
    /// @param owner The owner.
    /// @param caller Who called.
    error RegistrationClosed(address owner, address caller);

    /// @notice The contract cannot be an implementation behind a proxy: its `proxiableUUID` is another.
    /// @param implementation The contract.
    /// @param expected The slot that it must answer.
    error NotProxiable(address implementation, bytes32 expected);

    /// @notice There is an app under this id already: same settings, same salt.
    /// @param appId Address of the app's contract.
    error AppAlreadyDeployed(address appId);

    /// @notice Sets up a proxy in strict mode, once: every switch is on before the first answer.
    /// @param initialOwner Owner of the trust domain.
    /// @param appImplementation_ Implementation for the factory; it is checked.
    function initializeStrict(address initialOwner, address appImplementation_) external;

    /// @notice Sets the verifier that must accept evidence for root keys.
    /// @param newQuoteVerifier A contract, or zero for none.
    function setQuoteVerifier(address newQuoteVerifier) external;

    /// @notice Stops all answers: every question is denied until {unpause}.
    function pause() external;

    /// @notice Lets questions be answered again.
    function unpause() external;

    /// @notice Denies an app its keys, registered or not.
    /// @param appId Address of the app's contract.
    function suspendApp(address appId) external;

    /// @notice Ends a suspension.
    /// @param appId Address of the app's contract.
    function reinstateApp(address appId) external;

    /// @notice Makes an app contract whose id follows from its settings and a salt, and registers it. Anyone may.
    /// @dev A second call with the same arguments reverts {AppAlreadyDeployed}: the id belongs to these very settings, so that
    ///      whoever is first has made the app that both wanted.
    /// @param initialOwner Owner of the app.
    /// @param disableUpgrades Whether the app's code may never change.
    /// @param requireTcbUpToDate Whether only an up-to-date platform may run the app.
    /// @param allowAnyDevice Whether every device may run the app.
    /// @param initialDeviceId Device to list; zero lists none.
    /// @param initialComposeHash Compose document to list; zero lists none.
    /// @param salt Tells apps of equal settings apart.
    /// @return appId Address of the new contract.
    function deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash,
        bytes32 salt
    ) external returns (address appId);

    /// @notice The id that {deployAndRegisterApp} with a salt gives, while implementation and switches stay as they are.
    /// @param initialOwner Owner of the app.
    /// @param disableUpgrades Whether the app's code may never change.
    /// @param requireTcbUpToDate Whether only an up-to-date platform may run the app.
    /// @param allowAnyDevice Whether every device may run the app.
    /// @param initialDeviceId Device to list; zero lists none.
    /// @param initialComposeHash Compose document to list; zero lists none.
    /// @param salt Tells apps of equal settings apart.
    /// @return appId Address that the contract will have, or has.
    function predictAppId(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash,
        bytes32 salt
    ) external view returns (address appId);

    /// @notice The verifier that must accept evidence for root keys.
    /// @return The verifier; zero for none.
    function quoteVerifier() external view returns (address);

    /// @notice Whether an app is suspended.
    /// @param appId Address of the app's contract.
    /// @return Whether it is.
    function suspendedApps(address appId) external view returns (bool);
}
