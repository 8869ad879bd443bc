/** An archive of a KMS: its files behind a manifest in one tar, encrypted to the holders of the recovery keys. */
import { z } from "zod";
import { fromUtf8, utf8 } from "../bytes.ts";
import { inContext, KmsError } from "../errors.ts";
import { wipe } from "../keys/kdf.ts";
import type { FileWrite } from "../keys/store-files.ts";
import { manifestOf, manifestSchema, verifyEntry } from "../keys/store-manifest.ts";
import { decryptWith, encryptTo } from "./age.ts";
import { keyFile, rootKeysOf, verifyKeyFiles } from "./key-files.ts";
import { type KeyProof, proveRootKeys, sameProof } from "./probe.ts";
import { decodeTar, encodeTar } from "./tar.ts";

const manifestFile = "manifest.json";
/** Ten files of a few kilobytes, of which certificates carry evidence. */
export const maxArchiveBytes = 16 * 1024 * 1024;

const schema = manifestSchema.extend({
  createdAt: z.iso.datetime(),
  keys: z.strictObject({ caPubkey: z.string(), k256Pubkey: z.string(), probe: z.string() }),
});

export interface Archive {
  readonly createdAt: string;
  readonly keys: KeyProof;
  /** Secrets: whoever opened the archive wipes them. */
  readonly files: readonly FileWrite[];
}

export async function sealArchive(files: readonly FileWrite[], recipients: readonly string[], now: Date) {
  verifyKeyFiles(files);
  const keys = proofOf(files);
  const createdAt = now.toISOString();
  const manifest = utf8(`${JSON.stringify({ ...manifestOf(files), createdAt, keys })}\n`);
  const tar = encodeTar([{ name: manifestFile, content: manifest }, ...files], Math.floor(now.getTime() / 1000));
  try {
    return { createdAt, keys, bytes: await encryptTo(recipients, tar) };
  } finally {
    wipe(tar);
  }
}

/** Everything is checked before it is handed out: the manifest against the files, and the files against each other. */
export async function openArchive(bytes: Uint8Array, identities: readonly string[]): Promise<Archive> {
  const tar = await decryptWith(identities, bytes);
  try {
    const [first, ...rest] = decodeTar(tar);
    if (first?.name !== manifestFile) throw new KmsError("malformed.backup", `backup: does not begin with ${manifestFile}`);
    const manifest = parseManifest(first.content);
    if (rest.map(({ name }) => name).join() !== manifest.files.map(({ name }) => name).join()) {
      throw new KmsError("malformed.backup", "backup: holds other files than its manifest names");
    }
    const files = rest.map(({ name, content }) => keyFile(name, content.slice()));
    for (const [index, entry] of manifest.files.entries()) verifyEntry(entry, rest[index]?.content ?? new Uint8Array());
    verifyKeyFiles(files);
    if (!sameProof(proofOf(files), manifest.keys)) {
      throw new KmsError("malformed.backup", "backup: its keys do not derive what they derived when it was made");
    }
    return { createdAt: manifest.createdAt, keys: manifest.keys, files };
  } catch (thrown) {
    throw inContext("backup is not restored", thrown);
  } finally {
    wipe(tar);
  }
}

function parseManifest(bytes: Uint8Array) {
  try {
    return schema.parse(JSON.parse(fromUtf8(bytes, manifestFile, "malformed.backup")));
  } catch (cause) {
    throw new KmsError("malformed.backup", `backup: ${manifestFile} is of another version or damaged`, { cause });
  }
}

function proofOf(files: readonly FileWrite[]): KeyProof {
  const rootKeys = rootKeysOf(files);
  try {
    return proveRootKeys(rootKeys);
  } finally {
    rootKeys.wipe();
  }
}
