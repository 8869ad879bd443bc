/** ECDSA P-256 with SHA-256, the one algorithm of Intel's attestation hierarchy, on node:crypto. */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { concat, equal } from "../../bytes.ts";
import { type Code, KmsError } from "../../errors.ts";

/** SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480), up to the 04 of the point. */
const SPKI_PREFIX = Uint8Array.from(Buffer.from("3059301306072a8648ce3d020106082a8648ce3d03010703420004", "hex"));
const SPKI_LENGTH = 91;

/** The whole AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758), which has no parameters. */
export const ECDSA_SHA256 = Uint8Array.from(Buffer.from("300a06082a8648ce3d040302", "hex"));

/** A P-256 key from its SubjectPublicKeyInfo; other curves and algorithms are refused. */
export function keyFromSpki(spki: Uint8Array, code: Code): KeyObject {
  if (spki.length !== SPKI_LENGTH || !equal(spki.subarray(0, SPKI_PREFIX.length), SPKI_PREFIX)) {
    throw new KmsError(code, "public key: need an uncompressed P-256 point");
  }
  try {
    // as PEM: Node imports it in half of the time that it takes for DER
    return createPublicKey(`-----BEGIN PUBLIC KEY-----\n${Buffer.from(spki).toString("base64")}\n-----END PUBLIC KEY-----`);
  } catch (cause) {
    throw new KmsError(code, "public key: not a point of P-256", { cause });
  }
}

/** A P-256 key from x‖y. */
export function keyFromPoint(point: Uint8Array, code: Code): KeyObject {
  return keyFromSpki(concat(SPKI_PREFIX, point), code);
}

/** Raw r‖s of 64 bytes, as in quotes and over Intel's JSON; OpenSSL checks it a third slower than DER. */
export function isSignedRaw(data: Uint8Array, signature: Uint8Array, key: KeyObject): boolean {
  return signature.length === 64 && isSignedDer(data, derOfRaw(signature), key);
}

/** SEQUENCE { r, s }, as in certificates and revocation lists. */
export function isSignedDer(data: Uint8Array, signature: Uint8Array, key: KeyObject): boolean {
  return verify("sha256", data, key, signature);
}

/** The DER form of a raw signature of 64 bytes. */
export function derOfRaw(raw: Uint8Array): Uint8Array {
  const der = new Uint8Array(72);
  const end = putInteger(der, putInteger(der, 2, raw.subarray(0, 32)), raw.subarray(32));
  der.set([0x30, end - 2]);
  return der.subarray(0, end);
}

/** Writes an INTEGER of a magnitude, in its shortest form, and returns where it ends. */
function putInteger(der: Uint8Array, at: number, magnitude: Uint8Array): number {
  const first = magnitude.findIndex((byte) => byte !== 0);
  const digits = magnitude.subarray(first < 0 ? 31 : first);
  const sign = (digits[0] ?? 0) >> 7;
  der.set([0x02, sign + digits.length], at);
  der.set(digits, at + 2 + sign);
  return at + 2 + sign + digits.length;
}
