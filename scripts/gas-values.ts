/** The values that gas is measured with; payloads have no zero bytes unless their format has. */
import { type Address, type Hex, keccak256, toHex } from "viem";

export const word = (name: string): Hex => keccak256(toHex(name));
export const filled = (length: number, byte = "a5"): Hex => `0x${byte.repeat(length)}`;
export const longId = (digit: string): string => `0x${digit.repeat(40)}`;

export const DEVICE = word("device");
export const HASH = word("compose hash");
export const IMAGE = word("os image");
export const MR = word("aggregated mr");
export const OTHER = word("other");
export const ZERO = filled(32, "00");
export const ZERO_ADDRESS = filled(20, "00");

/** Changes of the lists: function, value, and the name of the operation. */
export const KMS_LISTS = [
  ["addKmsAggregatedMr", MR, "addKmsAggregatedMr new"],
  ["addKmsAggregatedMr", MR, "addKmsAggregatedMr repeated"],
  ["removeKmsAggregatedMr", MR, "removeKmsAggregatedMr"],
  ["addOsImageHash", IMAGE, "addOsImageHash new"],
  ["removeOsImageHash", IMAGE, "removeOsImageHash"],
  ["addKmsDevice", DEVICE, "addKmsDevice new"],
  ["removeKmsDevice", DEVICE, "removeKmsDevice"],
] as const;
export const APP_LISTS = [
  ["addComposeHash", HASH, "app addComposeHash new"],
  ["addComposeHash", HASH, "app addComposeHash repeated"],
  ["removeComposeHash", HASH, "app removeComposeHash"],
  ["addDevice", DEVICE, "app addDevice new"],
  ["removeDevice", DEVICE, "app removeDevice"],
] as const;

export const keys = { k256Pubkey: filled(33), caPubkey: filled(91), quote: "0x", eventlog: "0x" };
export const withQuote = { ...keys, quote: filled(5000) };

export interface Implementations {
  readonly kms: Address;
  readonly app: Address;
  readonly next: { readonly kms: Address; readonly app: Address };
}
