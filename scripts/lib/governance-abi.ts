/** The part of the contracts that the operator commands call: text, so that no compilation is needed to run them. */
import { parseAbi } from "viem";

const errors = [
  "error OwnableUnauthorizedAccount(address account)",
  "error OwnableInvalidOwner(address owner)",
  "error ERC1967InvalidImplementation(address implementation)",
  "error FailedCall()",
] as const;

export const kmsAuthAbi = parseAbi([
  "struct AppBootInfo { address appId; bytes32 composeHash; address instanceId; bytes32 deviceId; bytes32 mrAggregated; bytes32 mrSystem; bytes32 osImageHash; string tcbStatus; string[] advisoryIds; }",
  "struct KmsInfo { bytes k256Pubkey; bytes caPubkey; bytes quote; bytes eventlog; }",
  "function owner() view returns (address)",
  "function isKmsAllowed(AppBootInfo bootInfo) view returns (bool isAllowed, string reason)",
  "function kmsInfo() view returns (bytes k256Pubkey, bytes caPubkey, bytes quote, bytes eventlog)",
  "function setKmsInfo(KmsInfo info)",
  "function kmsAllowedAggregatedMrs(bytes32) view returns (bool)",
  "function addKmsAggregatedMr(bytes32 mrAggregated)",
  "function removeKmsAggregatedMr(bytes32 mrAggregated)",
  "function kmsAllowedDeviceIds(bytes32) view returns (bool)",
  "function addKmsDevice(bytes32 deviceId)",
  "function removeKmsDevice(bytes32 deviceId)",
  "function allowedOsImages(bytes32) view returns (bool)",
  "function addOsImageHash(bytes32 osImageHash)",
  "function removeOsImageHash(bytes32 osImageHash)",
  "function deployAndRegisterApp(address initialOwner, bool disableUpgrades, bool requireTcbUpToDate, bool allowAnyDevice, bytes32 initialDeviceId, bytes32 initialComposeHash) returns (address appId)",
  "event AppDeployedViaFactory(address indexed appId, address indexed deployer)",
  ...errors,
]);

export const appAuthAbi = parseAbi([
  "function owner() view returns (address)",
  "function allowedComposeHashes(bytes32) view returns (bool)",
  "function addComposeHash(bytes32 composeHash)",
  "function removeComposeHash(bytes32 composeHash)",
  ...errors,
]);
