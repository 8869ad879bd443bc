/** Golden vectors of every derivation; if one changes, the code is wrong. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import {
  decodePkcs8,
  deriveDhSecret,
  deriveK256,
  deriveKey,
  deriveP256,
  encodePkcs8,
  k256Point,
  p256Spki,
} from "../../kms/keys/kdf.ts";
import { caSpki, generateP256Scalar, generateRootKeys, k256Pubkey, RootKeys } from "../../kms/keys/root-keys.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };

const bytes = (hex: string) => fromHex(hex, "vector");
const list = (hexes: readonly string[]) => hexes.map(bytes);
const code = (code: string) => expect.objectContaining({ code });
const p256Order = bytes("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
const k256Order = bytes("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");

test.each(vectors.derive_key)("derives $length bytes from $context", (vector) => {
  expect(toHex(deriveKey(bytes(vector.ikm), list(vector.context), vector.length))).toBe(vector.okm);
});

test.each(vectors.derive_dh_secret)("derives a P-256 key and hashes its whole document", (vector) => {
  const root = bytes(vector.root_scalar);
  expect(toHex(encodePkcs8(root))).toBe(vector.root_pkcs8_der);
  expect(toHex(p256Spki(root))).toBe(vector.root_spki_der);
  const derived = deriveP256(root, list(vector.context));
  expect(toHex(derived)).toBe(vector.derived_scalar);
  expect(toHex(encodePkcs8(derived))).toBe(vector.derived_pkcs8_der);
  expect(toHex(p256Spki(derived))).toBe(vector.derived_spki_der);
  expect(toHex(deriveDhSecret(root, list(vector.context)))).toBe(vector.dh_secret);
});

test.each(vectors.guest_agent_get_key)("derives the guest agent's key for a path", (vector) => {
  const key = deriveK256(bytes(vector.k256_app_key), [utf8(vector.path)]);
  expect(toHex(key)).toBe(vector.derived_key);
  expect(toHex(k256Point(key))).toBe(vector.secp256k1_pubkey_compressed);
});

test("keeps the public halves of fixed roots", () => {
  const fixed = vectors.fixed_roots;
  const root = new RootKeys(bytes(fixed.root_ca_scalar), bytes(fixed.k256_root_key));
  expect(toHex(encodePkcs8(root.caScalar))).toBe(fixed.root_ca_pkcs8_der);
  expect(toHex(caSpki(root))).toBe(fixed.root_ca_spki_der);
  expect(toHex(k256Pubkey(root))).toBe(fixed.k256_root_pubkey);
});

test.each([
  ["zero", new Uint8Array(32)],
  ["the order itself", p256Order],
  ["above the order", new Uint8Array(32).fill(0xff)],
  ["31 bytes", new Uint8Array(31).fill(1)],
  ["33 bytes", new Uint8Array(33).fill(1)],
])("refuses a P-256 root of %s", (_name, scalar) => {
  expect(() => deriveP256(scalar, [])).toThrow(code("malformed.key"));
  expect(() => new RootKeys(scalar, new Uint8Array(32).fill(1))).toThrow(code("malformed.key"));
});

test.each([
  ["zero", new Uint8Array(32)],
  ["the order itself", k256Order],
  ["31 bytes", new Uint8Array(31).fill(1)],
])("refuses a secp256k1 root of %s", (_name, scalar) => {
  expect(() => deriveK256(scalar, [])).toThrow(code("malformed.key"));
  expect(() => new RootKeys(new Uint8Array(32).fill(1), scalar)).toThrow(code("malformed.key"));
});

test("reads back only the exact PKCS#8 form it writes", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.nat(137),
      fc.integer({ min: 1, max: 255 }),
      (seed, at, flip) => {
        const scalar = deriveKey(seed, [], 32);
        const document = encodePkcs8(scalar);
        expect(decodePkcs8(document)).toEqual(scalar);
        const broken = document.map((byte, index) => (index === at ? byte ^ flip : byte));
        expect(() => decodePkcs8(broken)).toThrow(code("malformed.key"));
      },
    ),
    { numRuns: 50 },
  );
});

test("refuses a PKCS#8 document without the public key", () => {
  expect(() => decodePkcs8(bytes(vectors.fixed_roots.root_ca_pkcs8_der).slice(0, 68))).toThrow(code("malformed.key"));
});

test("draws again when a drawn scalar is out of range, and gives up on a broken generator", () => {
  const draws = [new Uint8Array(32).fill(0xff), new Uint8Array(32).fill(7)];
  expect(generateP256Scalar(() => draws.shift() ?? new Uint8Array(32))).toEqual(new Uint8Array(32).fill(7));
  expect(() => generateRootKeys(() => new Uint8Array(32))).toThrow(code("fault.internal"));
});

test("shows nothing of root keys in text, and refuses to use wiped ones", () => {
  const root = new RootKeys(new Uint8Array(32).fill(0xab), new Uint8Array(32).fill(0xcd));
  expect(`${JSON.stringify(root)} ${JSON.stringify({ ...root })} ${String(root)}`).not.toMatch(/171|205|abab|cdcd/);
  const held = root.caScalar;
  root.wipe();
  expect(held).toEqual(new Uint8Array(32));
  expect(() => root.caScalar).toThrow(code("fault.internal"));
  expect(() => k256Pubkey(root)).toThrow(code("fault.internal"));
});
