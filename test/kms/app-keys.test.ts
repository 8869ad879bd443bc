/** What an authorized app receives, against vectors and the output of a real KMS of the reference. */
import { x25519 } from "@noble/curves/ed25519.js";
import { expect, test } from "vitest";
import type { AuthorizedBoot } from "../../kms/authorization/authorized-boot.ts";
import { fromHex, toHex } from "../../kms/bytes.ts";
import { deriveAppCaScalar, deriveAppKeys, signEnvPublicKey } from "../../kms/keys/app-keys.ts";
import { p256Spki } from "../../kms/keys/kdf.ts";
import { RootKeys } from "../../kms/keys/root-keys.ts";
import { recoverSigner65 } from "../../kms/keys/signature.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };

const bytes = (hex: string) => fromHex(hex, "vector");
const code = (code: string) => expect.objectContaining({ code });
const root = new RootKeys(bytes(vectors.fixed_roots.root_ca_scalar), bytes(vectors.fixed_roots.k256_root_key));

/** A test may pretend that the policy said yes; only the ids matter to the derivation. */
function authorized(appId: string, instanceId: string): AuthorizedBoot {
  return { info: { appId: bytes(appId), instanceId: bytes(instanceId) } } as unknown as AuthorizedBoot;
}

test.each(vectors.app_keys)("derives all keys of app $app_id, instance '$instance_id'", (vector) => {
  const boot = authorized(vector.app_id, vector.instance_id);
  const keys = deriveAppKeys(root, boot);
  expect(toHex(keys.diskCryptKey)).toBe(vector.disk_crypt_key);
  expect(toHex(keys.envCryptKey)).toBe(vector.env_crypt_key);
  expect(toHex(keys.k256Key)).toBe(vector.k256_key);
  expect(toHex(keys.k256Signature)).toBe(vector.k256_signature);
  const caScalar = deriveAppCaScalar(root, boot);
  expect(toHex(caScalar)).toBe(vector.app_ca_scalar);
  expect(toHex(p256Spki(caScalar))).toBe(vector.app_ca_spki_der);
});

test.each(vectors.app_keys)("signs the environment key of app $app_id with and without the time", (vector) => {
  const answer = signEnvPublicKey(root, bytes(vector.app_id), new Date(vector.timestamp * 1000 + 999));
  expect(answer.timestamp).toBe(BigInt(vector.timestamp));
  expect(toHex(answer.publicKey)).toBe(vector.env_encrypt_public_key);
  expect(toHex(answer.signature)).toBe(vector.env_pubkey_signature);
  expect(toHex(answer.signatureV1)).toBe(vector.env_pubkey_signature_v1);
});

test.each(vectors.real_kms_app_keys)("derives what a real KMS of the reference derived", (vector) => {
  const real = new RootKeys(bytes(vector.root_ca_scalar), bytes(vectors.fixed_roots.k256_root_key));
  const keys = deriveAppKeys(real, authorized(vector.app_id, vector.instance_id));
  expect(toHex(keys.diskCryptKey)).toBe(vector.disk_crypt_key);
  expect(toHex(keys.envCryptKey)).toBe(vector.env_crypt_key);
  expect(toHex(x25519.getPublicKey(keys.envCryptKey))).toBe(vector.env_encrypt_public_key);
  const issued = bytes(vector.k256_app_pubkey);
  const signer = recoverSigner65(bytes(vector.k256_signature), "dstack-kms-issued", bytes(vector.app_id), issued);
  expect(toHex(signer)).toBe(vector.recovered_k256_root_pubkey);
});

test("refuses ids of another length than the derivation's", () => {
  expect(() => deriveAppKeys(root, authorized("00".repeat(19), ""))).toThrow(code("malformed.length"));
  expect(() => deriveAppKeys(root, authorized("00".repeat(20), "00"))).toThrow(code("malformed.length"));
  expect(() => signEnvPublicKey(root, new Uint8Array(32), new Date())).toThrow("app_id must be 20 bytes");
});

test("derives the same keys from what it remembers, whatever was derived between", () => {
  const kept = new RootKeys(root.caScalar, root.k256Key);
  const ids = ["11", "12"].flatMap((app) => ["", "21", "22"].map((instance) => [app.repeat(20), instance.repeat(20)] as const));
  const fresh = ids.map(([app, instance]) => deriveAppKeys(new RootKeys(root.caScalar, root.k256Key), authorized(app, instance)));
  for (const _ of [1, 2]) expect(ids.map(([app, instance]) => deriveAppKeys(kept, authorized(app, instance)))).toEqual(fresh);
  expect(new Set(fresh.map(({ diskCryptKey }) => toHex(diskCryptKey))).size).toBe(ids.length);
});
