// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IAppAuth} from "./IAppAuth.sol";
import {IPolicyAudit} from "./IPolicyAudit.sol";

/// @title Governance of one KMS trust domain
/// @notice Lists the OS images, KMS measurements and KMS devices that may hold the root keys, registers apps, makes app contracts,
///         and publishes the root public keys. The owner has no power inside an app's contract.
/// @dev Every setter is idempotent: repeating a change succeeds and emits again. Setters are the owner's unless said otherwise. That,
///      and what is said below, is compatible mode; {IHardening-Switch} says what each switch changes.
interface IKmsAuth is IAppAuth, IPolicyAudit {
    /// @notice The published root keys and the evidence that a KMS made them.
    /// @param k256Pubkey Root key of app identities: compressed secp256k1, 33 bytes.
    /// @param caPubkey Root CA key: P-256 SubjectPublicKeyInfo, 91 bytes.
    /// @param quote Quote whose report data binds both keys.
    /// @param eventlog Event log of the machine that made the quote.
    struct KmsInfo {
        bytes k256Pubkey;
        bytes caPubkey;
        bytes quote;
        bytes eventlog;
    }

    /// @notice An app id was registered.
    /// @dev The argument is not indexed: existing indexers decode it from the data.
    /// @param appId Address of the app's contract.
    event AppRegistered(address appId);

    /// @notice The factory made an app contract. This stays the last log of its transaction: tooling reads the app id there.
    /// @param appId Address of the new contract.
    /// @param deployer Who called the factory.
    event AppDeployedViaFactory(address indexed appId, address indexed deployer);

    /// @notice The factory uses another app implementation from now on. Existing apps are unchanged.
    /// @param implementation The implementation contract.
    event AppImplementationSet(address implementation);

    /// @notice The root keys were published.
    /// @param k256Pubkey Root key of app identities.
    event KmsInfoSet(bytes k256Pubkey);

    /// @notice The gateway's app id was set.
    /// @param gatewayAppId The id in text.
    event GatewayAppIdSet(string gatewayAppId);

    /// @notice A KMS measurement may hold the root keys from now on.
    /// @param mrAggregated Hash over all measurement registers.
    event KmsAggregatedMrAdded(bytes32 mrAggregated);

    /// @notice A KMS measurement may no longer hold the root keys.
    /// @param mrAggregated Hash over all measurement registers.
    event KmsAggregatedMrRemoved(bytes32 mrAggregated);

    /// @notice A device may run a KMS from now on.
    /// @param deviceId Hash of the platform's identity.
    event KmsDeviceAdded(bytes32 deviceId);

    /// @notice A device may no longer run a KMS.
    /// @param deviceId Hash of the platform's identity.
    event KmsDeviceRemoved(bytes32 deviceId);

    /// @notice An OS image may boot apps and KMS nodes from now on.
    /// @param osImageHash Hash of the image.
    event OsImageHashAdded(bytes32 osImageHash);

    /// @notice An OS image may no longer boot anything.
    /// @param osImageHash Hash of the image.
    event OsImageHashRemoved(bytes32 osImageHash);

    /// @notice Sets up a proxy, once.
    /// @param initialOwner Owner of the trust domain; zero reverts `OwnableInvalidOwner`.
    /// @param appImplementation_ Implementation for the factory; zero leaves it unset.
    function initialize(address initialOwner, address appImplementation_) external;

    /// @notice Publishes the root keys with their evidence, all four members.
    /// @dev Compatible: the evidence is data for verifiers off the chain, and nothing here checks it. While root keys are checked: sizes
    ///      and report data must be right, parts are at most 24,575 bytes, and the hashes of all parts have an event.
    /// @param info The keys and their evidence.
    function setKmsInfo(KmsInfo calldata info) external;

    /// @notice Replaces the quote alone. Emits nothing, unless root keys are checked.
    /// @param quote Quote whose report data binds the published keys.
    function setKmsQuote(bytes calldata quote) external;

    /// @notice Replaces the event log alone. Emits nothing, unless root keys are checked.
    /// @param eventlog Event log of the machine that made the quote.
    function setKmsEventlog(bytes calldata eventlog) external;

    /// @notice Sets the gateway's app id. The text is not checked.
    /// @param newGatewayAppId The id in text.
    function setGatewayAppId(string calldata newGatewayAppId) external;

    /// @notice Registers an app id. Anyone may, unless only the factory does; zero reverts `Invalid app ID`.
    /// @dev Registration grants nothing by itself: the app's own contract decides, and it is asked at every boot.
    /// @param appId Address of the app's contract.
    function registerApp(address appId) external;

    /// @notice Sets the factory's app implementation. Zero reverts `Invalid implementation address`.
    /// @param newImplementation The implementation contract.
    function setAppImplementation(address newImplementation) external;

    /// @notice Makes an app contract and registers it. Anyone may.
    /// @dev Reverts `DstackApp implementation not set` or `Invalid owner address`: texts of the deployed interface.
    /// @param initialOwner Owner of the app.
    /// @param disableUpgrades Whether the app's code may never change.
    /// @param requireTcbUpToDate Whether only an up-to-date platform may run the app.
    /// @param allowAnyDevice Whether every device may run the app.
    /// @param initialDeviceId Device to list; zero lists none.
    /// @param initialComposeHash Compose document to list; zero lists none.
    /// @return appId Address of the new contract.
    function deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external returns (address appId);

    /// @notice The same with the TCB rule off: the form that older tools call.
    /// @param initialOwner Owner of the app.
    /// @param disableUpgrades Whether the app's code may never change.
    /// @param allowAnyDevice Whether every device may run the app.
    /// @param initialDeviceId Device to list; zero lists none.
    /// @param initialComposeHash Compose document to list; zero lists none.
    /// @return appId Address of the new contract.
    function deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external returns (address appId);

    /// @notice Lists a KMS measurement.
    /// @param mrAggregated Hash over all measurement registers.
    function addKmsAggregatedMr(bytes32 mrAggregated) external;

    /// @notice Takes a KMS measurement off the list. Root keys that such a node already holds are not recalled.
    /// @param mrAggregated Hash over all measurement registers.
    function removeKmsAggregatedMr(bytes32 mrAggregated) external;

    /// @notice Lists a device for KMS nodes. There is no switch for any device.
    /// @param deviceId Hash of the platform's identity.
    function addKmsDevice(bytes32 deviceId) external;

    /// @notice Takes a device for KMS nodes off the list.
    /// @param deviceId Hash of the platform's identity.
    function removeKmsDevice(bytes32 deviceId) external;

    /// @notice Lists an OS image, for apps and KMS nodes alike.
    /// @param osImageHash Hash of the image.
    function addOsImageHash(bytes32 osImageHash) external;

    /// @notice Takes an OS image off the list, for apps and KMS nodes alike.
    /// @param osImageHash Hash of the image.
    function removeOsImageHash(bytes32 osImageHash) external;

    /// @notice May this virtual machine hold the root keys?
    /// @param bootInfo Verified facts about the machine; TCB status, OS image, aggregated measurement and device count.
    /// @return isAllowed Whether it may.
    /// @return reason Empty when allowed, else the first rule that failed. The texts are part of the interface.
    function isKmsAllowed(AppBootInfo calldata bootInfo) external view returns (bool isAllowed, string memory reason);

    /// @notice The published root keys and their evidence.
    /// @return k256Pubkey Root key of app identities.
    /// @return caPubkey Root CA key.
    /// @return quote Quote that binds both keys.
    /// @return eventlog Event log of the machine that made the quote.
    function kmsInfo()
        external
        view
        returns (bytes memory k256Pubkey, bytes memory caPubkey, bytes memory quote, bytes memory eventlog);

    /// @notice The gateway's app id in text.
    /// @return The id.
    function gatewayAppId() external view returns (string memory);

    /// @notice Whether an app id is registered.
    /// @param appId Address of the app's contract.
    /// @return Whether it is.
    function registeredApps(address appId) external view returns (bool);

    /// @notice Whether a KMS measurement is listed.
    /// @param mrAggregated Hash over all measurement registers.
    /// @return Whether it is.
    function kmsAllowedAggregatedMrs(bytes32 mrAggregated) external view returns (bool);

    /// @notice Whether a device may run a KMS.
    /// @param deviceId Hash of the platform's identity.
    /// @return Whether it is listed.
    function kmsAllowedDeviceIds(bytes32 deviceId) external view returns (bool);

    /// @notice Whether an OS image is listed.
    /// @param osImageHash Hash of the image.
    /// @return Whether it is.
    function allowedOsImages(bytes32 osImageHash) external view returns (bool);

    /// @notice The factory's app implementation, zero when unset.
    /// @return The implementation contract.
    function appImplementation() external view returns (address);

    /// @notice {appImplementation} under the name it had before July 2025.
    /// @return The implementation contract.
    function appAuthImplementation() external view returns (address);
}
