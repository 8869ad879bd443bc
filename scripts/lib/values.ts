/** Values from the command line: exact lengths, one meaning, never padded. */
import { getAddress, type Hex, isAddress } from "viem";
import { usageError } from "./cli.ts";

/** A 32-byte hash, with or without `0x`, in either case. */
export function parseHash(text: string, what: string): Hex {
  const digits = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(text)?.[1]?.toLowerCase();
  if (digits === undefined)
    throw usageError(`${what}: need 32 bytes of hex, have ${text.length} characters`, "64 hex digits, 0x before them is fine");
  // Zero is what an absent value looks like to a contract.
  if (/^0+$/.test(digits)) throw usageError(`${what}: must not be zero`, "zero stands for an absent value");
  return `0x${digits}`;
}

export function parseAddress(text: string | undefined, what: string, hint: string): Hex {
  if (text === undefined || text === "") throw usageError(`${what} is not given`, hint);
  if (!/^0x[0-9a-fA-F]{40}$/.test(text))
    throw usageError(`${what}: need 0x and 40 hex digits, have ${text.length} characters`, hint);
  if (/^0x0+$/.test(text)) throw usageError(`${what}: must not be the zero address`, hint);
  if (!isAddress(text)) throw usageError(`${what}: wrong checksum`, "is there a typo? all lower case skips the check");
  return getAddress(text);
}

/** The environment variable is the one that the webhook reads. */
export function kmsAuthAddress(option: string | undefined, flag = "--kms-auth"): Hex {
  return parseAddress(
    option ?? process.env["KMS_CONTRACT_ADDR"],
    flag === "--kms-auth" ? "the KmsAuth address" : "the contract's address",
    `pass ${flag} ADDRESS or set KMS_CONTRACT_ADDR`,
  );
}
