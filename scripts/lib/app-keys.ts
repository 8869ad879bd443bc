/** What GetAppKey releases, as a client reads it, and the check that leads from the app's key to the root key that signed it. */
import { z } from "zod";
import { fromHex } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { k256Point, signaturePrefixes } from "../../kms/keys/kdf.ts";
import { recoverSigner65 } from "../../kms/keys/signature.ts";

const hex = z.string().regex(/^(?:[0-9a-f]{2})*$/);

export const appKeysSchema = z.object({
  ca_cert: z.string(),
  disk_crypt_key: hex.length(64),
  env_crypt_key: hex.length(64),
  k256_key: hex.length(64),
  k256_signature: hex.length(130),
  gateway_app_id: z.string(),
});

export type AppKeys = z.output<typeof appKeysSchema>;

export function readAppKeys(answer: unknown): AppKeys {
  const keys = appKeysSchema.safeParse(answer);
  if (keys.success) return keys.data;
  const fields = keys.error.issues.map((issue) => issue.path.join(".")).join(", ");
  throw new KmsError("unavailable.kms", `GetAppKey: the answer does not have its form: ${fields}`);
}

/** The compressed root key that issued the app's key; whether it is the registered one is the caller's question. */
export function issuerOf(keys: Pick<AppKeys, "k256_key" | "k256_signature">, appId: Uint8Array): Uint8Array {
  const point = k256Point(fromHex(keys.k256_key, "k256_key", 32));
  return recoverSigner65(fromHex(keys.k256_signature, "k256_signature", 65), signaturePrefixes.appKey, appId, point);
}
