/** Every derivation of key material, and on one screen every label that feeds one: a changed byte here changes every app's keys. */
import { createECDH, hash } from "node:crypto";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { concat, equal, fromHex, isZero, needLength, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";

const salt = utf8("RATLS");

/** Last part of a derivation context; the parts before it are the app id and, for the disk, the instance id. */
export const purposes = {
  disk: utf8("app-disk-crypt-key"),
  env: utf8("env-encrypt-key"),
  k256: utf8("app-key"),
  appCa: utf8("app-ca"),
} as const;

/** First part of the message of a 65-byte signature. */
export const signaturePrefixes = {
  appKey: "dstack-kms-issued",
  envKey: "dstack-env-encrypt-pubkey",
} as const;

export type SignaturePrefix = (typeof signaturePrefixes)[keyof typeof signaturePrefixes];

const scalarLength = 32;
const hashLength = 32;
const hashBlock = 64;
const p256Order = fromHex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", "P-256 order", scalarLength);
const k256Order = fromHex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", "secp256k1 order", scalarLength);

/** PKCS#8 (RFC 5958) of a P-256 key with its public key, around the scalar and the point: the one form that Rust peers accept. */
const pkcs8Head = fromHex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420", "PKCS#8 head", 36);
const pkcs8Middle = fromHex("a144034200", "PKCS#8 middle", 5);
const pkcs8Length = 138;
const spkiHead = fromHex("3059301306072a8648ce3d020106082a8648ce3d030107034200", "SPKI head", 26);

/** HKDF-SHA256 (RFC 5869), of at most 255 times 32 bytes. The context parts are only concatenated, so the length of each is part of the protocol. */
export function deriveKey(ikm: Uint8Array, context: readonly Uint8Array[], length: number): Uint8Array {
  const pseudorandomKey = hmac(salt, ikm);
  const derived = new Uint8Array(length);
  let block: Uint8Array = new Uint8Array();
  for (let at = 0; at < length; at += hashLength) {
    const next = hmac(pseudorandomKey, block, ...context, Uint8Array.of(at / hashLength + 1));
    wipe(block);
    block = next;
    derived.set(block.subarray(0, length - at), at);
  }
  wipe(pseudorandomKey, block);
  return derived;
}

/** HMAC-SHA256 (RFC 2104) for keys of at most a block. Node's own HKDF makes and collects objects that cost several times the hashing. */
function hmac(key: Uint8Array, ...message: readonly Uint8Array[]): Uint8Array {
  const inner = concat(new Uint8Array(hashBlock), ...message);
  const outer = new Uint8Array(hashBlock + hashLength);
  for (let at = 0; at < hashBlock; at += 1) {
    inner[at] = (key[at] ?? 0) ^ 0x36;
    outer[at] = (key[at] ?? 0) ^ 0x5c;
  }
  const middle = sha256(inner);
  outer.set(middle, hashBlock);
  const code = sha256(outer);
  wipe(inner, middle, outer);
  return code;
}

/** The digest itself, no copy of it: who wipes it leaves none behind. */
function sha256(content: Uint8Array): Uint8Array {
  const { buffer, byteOffset, length } = hash("sha256", content, "buffer");
  return new Uint8Array(buffer, byteOffset, length);
}

/** A P-256 scalar, used as derived: reducing or drawing again would give another key than every peer's. */
export function deriveP256(rootScalar: Uint8Array, context: readonly Uint8Array[]): Uint8Array {
  return needP256Scalar(deriveKey(needP256Scalar(rootScalar, "root scalar"), context, scalarLength), "derived P-256 scalar");
}

/** A secp256k1 scalar under the same rule. */
export function deriveK256(rootKey: Uint8Array, context: readonly Uint8Array[]): Uint8Array {
  return needK256Scalar(deriveKey(needK256Scalar(rootKey, "root key"), context, scalarLength), "derived secp256k1 scalar");
}

/**
 * SHA-256 over the whole PKCS#8 document: the public key and the DER framing are part of the secret's definition. `pointOf` may
 * remember the point of this root and context.
 */
export function deriveDhSecret(
  rootScalar: Uint8Array,
  context: readonly Uint8Array[],
  pointOf: (scalar: Uint8Array) => Uint8Array = p256Point,
): Uint8Array {
  const scalar = deriveP256(rootScalar, context);
  const document = pkcs8Of(scalar, pointOf(scalar));
  const secret = sha256(document);
  wipe(scalar, document);
  return secret;
}

export function encodePkcs8(scalar: Uint8Array): Uint8Array {
  return pkcs8Of(scalar, p256Point(scalar));
}

function pkcs8Of(scalar: Uint8Array, point: Uint8Array): Uint8Array {
  return concat(pkcs8Head, scalar, pkcs8Middle, point);
}

/** The scalar of a PKCS#8 document in exactly the form above; its public key must be the scalar's own. */
export function decodePkcs8(document: Uint8Array): Uint8Array {
  needLength(document, pkcs8Length, "PKCS#8 P-256 key", "malformed.key");
  const scalar = document.slice(pkcs8Head.length, pkcs8Head.length + scalarLength);
  if (!equal(encodePkcs8(needP256Scalar(scalar, "PKCS#8 P-256 key")), document)) {
    throw new KmsError("malformed.key", "PKCS#8 P-256 key: not a P-256 key with its own public key");
  }
  return scalar;
}

/** SubjectPublicKeyInfo, 91 bytes. */
export function p256Spki(scalar: Uint8Array): Uint8Array {
  return concat(spkiHead, p256Point(scalar));
}

/** The uncompressed public point, 65 bytes. */
export function p256Point(scalar: Uint8Array): Uint8Array {
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(needP256Scalar(scalar, "P-256 scalar"));
  return new Uint8Array(ecdh.getPublicKey());
}

/** The compressed public point, 33 bytes. */
export function k256Point(scalar: Uint8Array): Uint8Array {
  return secp256k1.getPublicKey(needK256Scalar(scalar, "secp256k1 scalar"), true);
}

export function needP256Scalar(scalar: Uint8Array, what: string): Uint8Array {
  return needScalar(scalar, p256Order, what);
}

export function needK256Scalar(scalar: Uint8Array, what: string): Uint8Array {
  return needScalar(scalar, k256Order, what);
}

/** Overwrites secrets that are no longer needed. JavaScript may have made copies; this removes ours. */
export function wipe(...secrets: readonly Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0);
}

function needScalar(scalar: Uint8Array, order: Uint8Array, what: string): Uint8Array {
  needLength(scalar, scalarLength, what, "malformed.key");
  if (isZero(scalar) || Buffer.compare(scalar, order) >= 0)
    throw new KmsError("malformed.key", `${what}: out of range of the curve`);
  return scalar;
}
