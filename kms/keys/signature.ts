/** The 65-byte secp256k1 signatures by which apps and tools trace a key to the KMS root: r, s and a recovery id of 0 or 1, in this order. */
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { concat, needLength, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import type { SignaturePrefix } from "./kdf.ts";

const signatureLength = 65;
const digestLength = 32;
const appIdLength = 20;

/** keccak256(prefix ":" appId message). Nothing separates app id and message, so another length of app id would be ambiguous. */
export function signedDigest(prefix: SignaturePrefix, appId: Uint8Array, message: Uint8Array): Uint8Array {
  if (appId.length !== appIdLength) throw new KmsError("malformed.length", "app_id must be 20 bytes");
  return keccak_256(concat(utf8(`${prefix}:`), appId, message));
}

export function sign65(key: Uint8Array, prefix: SignaturePrefix, appId: Uint8Array, message: Uint8Array): Uint8Array {
  return signDigest(key, signedDigest(prefix, appId, message));
}

/** The compressed public key that made the signature; whether it is a trusted one is the caller's question. */
export function recoverSigner65(
  signature: Uint8Array,
  prefix: SignaturePrefix,
  appId: Uint8Array,
  message: Uint8Array,
): Uint8Array {
  return recoverSigner(signature, signedDigest(prefix, appId, message));
}

/** Deterministic (RFC 6979 with SHA-256) and low-S, so that every replica answers the same bytes. */
export function signDigest(key: Uint8Array, digest: Uint8Array): Uint8Array {
  needLength(digest, digestLength, "digest");
  const signature = secp256k1.sign(digest, key, { prehash: false, lowS: true, format: "recovered" });
  return concat(signature.subarray(1), signature.subarray(0, 1)); // the library puts the recovery id first, the protocol last
}

/** Refuses a recovery id other than 0 and 1 and a high S, which would be a second spelling of the same signature. */
export function recoverSigner(signature: Uint8Array, digest: Uint8Array): Uint8Array {
  needLength(digest, digestLength, "digest");
  needLength(signature, signatureLength, "signature", "malformed.signature");
  const recoveryId = signature.subarray(signatureLength - 1);
  if ((recoveryId[0] ?? 2) > 1) throw new KmsError("malformed.signature", "signature: need a recovery id of 0 or 1");
  try {
    const parsed = secp256k1.Signature.fromBytes(concat(recoveryId, signature.subarray(0, -1)), "recovered");
    if (parsed.hasHighS()) throw new KmsError("malformed.signature", "signature: s is in the upper half");
    return parsed.recoverPublicKey(digest).toBytes(true);
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw new KmsError("malformed.signature", "signature: recovers no key", { cause });
  }
}
