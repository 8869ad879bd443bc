/** Hex on the command line: with or without 0x, either case, of exactly one length. */
import { fromHex } from "../../kms/bytes.ts";
import { usageError } from "./cli.ts";

export function parseHexOption(text: string, flag: string, length: number): Uint8Array {
  const digits = /^(?:0x)?([0-9a-fA-F]*)$/.exec(text)?.[1];
  if (digits?.length !== 2 * length) {
    throw usageError(
      `${flag}: need ${length} bytes of hex, have ${text.length} characters`,
      `${2 * length} hex digits, 0x before them is fine`,
    );
  }
  return fromHex(digits, flag, length);
}

/** A compressed secp256k1 key, as GetMeta, bootstrap-info.json and the contract's kmsInfo have it. */
export function parseK256Option(text: string, flag: string): Uint8Array {
  const key = parseHexOption(text, flag, 33);
  if (key[0] === 2 || key[0] === 3) return key;
  throw usageError(
    `${flag}: need a compressed secp256k1 key`,
    "it starts with 02 or 03; the contract's kmsInfo has it as k256Pubkey",
  );
}
