/** Scalars are used as they are derived: from one to the order less one, and nothing else. */
import { p256 } from "@noble/curves/nist.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { concat, fromHex, utf8 } from "../../kms/bytes.ts";
import { deriveKey, needK256Scalar, needP256Scalar } from "../../kms/keys/kdf.ts";

const scalar = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(64, "0"), "scalar");

test.each([
  ["P-256", p256.Point.Fn.ORDER, needP256Scalar],
  ["secp256k1", secp256k1.Point.Fn.ORDER, needK256Scalar],
])("%s", (_name, order, need) => {
  for (const good of [1n, 2n, order - 1n]) expect(need(scalar(good), "scalar")).toEqual(scalar(good));
  for (const bad of [0n, order, order + 1n, 2n ** 256n - 1n]) {
    expect(() => need(scalar(bad), "scalar")).toThrow(expect.objectContaining({ code: "malformed.key" }));
  }
  expect(() => need(new Uint8Array(31).fill(1), "scalar")).toThrow(expect.objectContaining({ code: "malformed.key" }));
});

test("derivation is HKDF of RFC 5869 as another implementation has it, for any key, context and length", () => {
  const bytes = (maxLength: number, minLength = 0) =>
    fc.uint8Array({ minLength, maxLength }).map((array) => new Uint8Array(array));
  fc.assert(
    fc.property(bytes(64, 1), fc.array(bytes(40), { maxLength: 4 }), fc.integer({ min: 1, max: 128 }), (ikm, context, length) => {
      expect(deriveKey(ikm, context, length)).toEqual(hkdf(sha256, ikm, utf8("RATLS"), concat(...context), length));
    }),
    { numRuns: 200 },
  );
});
