/** The 65-byte signatures against vectors, the reference's own among them, and their refusals. */
import { keccak_256 } from "@noble/hashes/sha3.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { concat, fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { deriveK256, k256Point } from "../../kms/keys/kdf.ts";
import { recoverSigner, recoverSigner65, sign65, signDigest, signedDigest } from "../../kms/keys/signature.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };

const bytes = (hex: string) => fromHex(hex, "vector");
const code = (code: string) => expect.objectContaining({ code });
const app = vectors.app_keys[1];
if (!app) throw new Error("the vectors have no second app");

test.each(vectors.kms_issued_signature_recovery)("recovers the signer of an issued app key", (vector) => {
  const [appId, message] = [bytes(vector.app_id), bytes(vector.k256_app_pubkey)];
  expect(toHex(k256Point(bytes(vector.k256_app_key)))).toBe(vector.k256_app_pubkey);
  expect(toHex(signedDigest("dstack-kms-issued", appId, message))).toBe(vector.digest);
  const signer = recoverSigner65(bytes(vector.k256_signature), "dstack-kms-issued", appId, message);
  expect(toHex(signer)).toBe(vector.recovered_pubkey);
});

test.each(vectors.env_pubkey_signature_recovery)("recovers the signer of an environment key", (vector) => {
  const [appId, message] = [bytes(vector.app_id), bytes(vector.public_key)];
  expect(toHex(signedDigest("dstack-env-encrypt-pubkey", appId, message))).toBe(vector.digest);
  const signer = recoverSigner65(bytes(vector.signature), "dstack-env-encrypt-pubkey", appId, message);
  expect(toHex(signer)).toBe(vector.expected);
});

test.each(vectors.auth_chain)("makes and follows the chain from a message to the root", (vector) => {
  const key = deriveK256(bytes(app.k256_key), [utf8(vector.path)]);
  expect(toHex(key)).toBe(vector.derived_key);
  expect(toHex(k256Point(key))).toBe(vector.derived_pubkey);
  const digest = keccak_256(utf8(vector.message_utf8));
  expect(toHex(digest)).toBe(vector.digest);
  const [ofPurpose, ofApp] = vector.signature_chain.map(bytes);
  if (!ofPurpose || !ofApp) throw new Error("the vector's chain is short");
  expect(signDigest(bytes(app.k256_key), digest)).toEqual(ofPurpose);
  const appKey = recoverSigner(ofPurpose, digest);
  expect(toHex(appKey)).toBe(app.k256_pubkey);
  const root = recoverSigner65(ofApp, "dstack-kms-issued", bytes(app.app_id), appKey);
  expect(toHex(root)).toBe(vectors.fixed_roots.k256_root_pubkey);
});

test("signs the same bytes each time and recovers its own key", () => {
  const scalar = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(scalar, fc.uint8Array({ minLength: 20, maxLength: 20 }), fc.uint8Array(), (seed, appId, message) => {
      const key = deriveK256(bytes(app.k256_key), [seed]);
      const signature = sign65(key, "dstack-kms-issued", appId, message);
      expect(signature).toHaveLength(65);
      expect(signature[64]).toBeLessThanOrEqual(1);
      expect(sign65(key, "dstack-kms-issued", appId, message)).toEqual(signature);
      expect(recoverSigner65(signature, "dstack-kms-issued", appId, message)).toEqual(k256Point(key));
    }),
    { numRuns: 30 },
  );
});

test("refuses an app id that is not 20 bytes, which would make the layout ambiguous", () => {
  for (const length of [0, 19, 21, 32]) {
    expect(() => sign65(bytes(app.k256_key), "dstack-kms-issued", new Uint8Array(length), utf8("m"))).toThrow(
      code("malformed.length"),
    );
  }
});

const good = bytes(app.k256_signature);
const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const highS = bytes((order - BigInt(`0x${toHex(good.subarray(32, 64))}`)).toString(16).padStart(64, "0"));

test.each([
  ["64 bytes", good.slice(0, 64)],
  ["66 bytes", concat(good, new Uint8Array(1))],
  ["recovery id 27", concat(good.subarray(0, 64), Uint8Array.of(27))],
  ["recovery id 2", concat(good.subarray(0, 64), Uint8Array.of(2))],
  ["r of zero", concat(new Uint8Array(32), good.subarray(32))],
  ["r over the order", concat(new Uint8Array(32).fill(0xff), good.subarray(32))],
  ["s in the upper half", concat(good.subarray(0, 32), highS, Uint8Array.of(1 - (good[64] ?? 0)))],
])("refuses a signature with %s", (_name, signature) => {
  const recover = () => recoverSigner65(signature, "dstack-kms-issued", bytes(app.app_id), bytes(app.k256_pubkey));
  expect(recover).toThrow(code("malformed.signature"));
});
