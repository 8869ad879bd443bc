/** The manifest that seals a stage: what each file must be, told of secrets by their public keys alone. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { fromUtf8, needLength, toHex, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { k256Point, p256Spki, wipe } from "./kdf.ts";
import { decodeKeyPem } from "./key-pem.ts";
import { type FileWrite, inFile, maxFileBytes, secretMode } from "./store-files.ts";

export const k256KeyFile = "root-k256.key";
const k256Length = 32;
const version = 1;
const maxFiles = 16;

const hex = z.string().regex(/^[0-9a-f]+$/);
const common = { name: z.string().regex(/^[a-z0-9-]+\.?[a-z]*$/), size: z.int().min(0).max(maxFileBytes) };
export const manifestSchema = z.strictObject({
  version: z.literal(version),
  files: z
    .array(z.union([z.strictObject({ ...common, sha256: hex }), z.strictObject({ ...common, publicKey: hex })]))
    .min(1)
    .max(maxFiles),
});

export type Manifest = z.output<typeof manifestSchema>;
export type ManifestEntry = Manifest["files"][number];

export function manifestOf(files: readonly FileWrite[]): Manifest {
  return { version, files: files.map(({ name, content, mode }) => entryOf(name, content, mode === secretMode)) };
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  return utf8(`${JSON.stringify(manifest)}\n`);
}

export function decodeManifest(bytes: Uint8Array, what: string): Manifest {
  try {
    return manifestSchema.parse(JSON.parse(fromUtf8(bytes, what, "fault.key-store")));
  } catch (cause) {
    throw new KmsError("fault.key-store", `${what}: is no manifest of version ${version}`, { cause });
  }
}

export function isSecret(entry: ManifestEntry): boolean {
  return "publicKey" in entry;
}

/** Refuses content that is not what the manifest sealed. */
export function verifyEntry(expected: ManifestEntry, content: Uint8Array): void {
  const actual = entryOf(expected.name, content, isSecret(expected));
  if (JSON.stringify(actual) === JSON.stringify(expected)) return;
  throw new KmsError("fault.key-store", `${expected.name}: is not the file that the manifest names`);
}

/**
 * A public key says exactly as much of a secret as everybody may know, and pins all of it. A digest of the secret would be one
 * more text to keep, good for nothing but checking guesses.
 */
function entryOf(name: string, content: Uint8Array, secret: boolean): ManifestEntry {
  if (secret) return { name, size: content.length, publicKey: toHex(publicKeyOf(name, content)) };
  return { name, size: content.length, sha256: createHash("sha256").update(content).digest("hex") };
}

/** Of a key file: SubjectPublicKeyInfo for a P-256 key, the compressed point for the secp256k1 root. */
export function publicKeyOf(name: string, content: Uint8Array): Uint8Array {
  return inFile(name, () => {
    if (name === k256KeyFile) return k256Point(needLength(content, k256Length, "secp256k1 key", "malformed.key"));
    const scalar = decodeKeyPem(content);
    try {
      return p256Spki(scalar);
    } finally {
      wipe(scalar);
    }
  });
}
