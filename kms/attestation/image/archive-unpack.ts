/** Unpacks the archive of an OS image into an empty folder, so that in the end there is what its manifest lists, byte for byte, and nothing else. */
import { createHash } from "node:crypto";
import { type FileHandle, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { equal, toHex } from "../../bytes.ts";
import { errorCode, KmsError } from "../../errors.ts";
import type { OpenedArchive } from "./archive-fetch.ts";
import { readTar, type TarLimits } from "./archive-tar.ts";
import {
  isPlainName,
  MANIFEST_NAME,
  MAX_MANIFEST_BYTES,
  MAX_METADATA_BYTES,
  type Manifest,
  METADATA_NAME,
  parseMetadata,
  provenManifest,
} from "./manifest.ts";

const GUNZIP_CHUNK_BYTES = 256 * 1024;
const ownerOnly = 0o600;

export interface Unpacking {
  readonly archive: OpenedArchive;
  /** Empty, and nobody else's. */
  readonly folder: string;
  readonly osImageHash: Uint8Array;
  readonly limits: TarLimits;
  readonly signal: AbortSignal | undefined;
}

export async function unpackImage(unpacking: Unpacking): Promise<void> {
  const { folder, osImageHash } = unpacking;
  const unpacked = await unpackFiles(unpacking);
  const manifest = await manifestOf(folder, unpacked, osImageHash);
  for (const [name, hash] of manifest) needListed(name, hash, unpacked.get(name));
  for (const name of unpacked.keys()) {
    if (!manifest.has(name) && name !== MANIFEST_NAME) await rm(join(folder, name));
  }
  parseMetadata(await readSmall(folder, METADATA_NAME, unpacked, MAX_METADATA_BYTES), manifest);
  for (const path of [...manifest.keys(), MANIFEST_NAME, "."]) await sync(join(folder, path));
}

interface Unpacked {
  readonly size: number;
  readonly sha256: Uint8Array;
}

/** Files of the top level by name; a manifest cannot list what lies deeper, so that is read past. */
async function unpackFiles({ archive, folder, limits, signal }: Unpacking): Promise<ReadonlyMap<string, Unpacked>> {
  const files = new Map<string, Unpacked>();
  const consume = async (chunks: AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const { path, size, content } of readTar(chunks, limits)) {
      const [name = "", ...deeper] = path;
      if (deeper.length > 0) continue;
      if (!isPlainName(name)) throw new KmsError("malformed.archive", "archive: a file name that no manifest can list");
      if (files.has(name)) throw new KmsError("malformed.archive", `archive: ${name} occurs twice`);
      files.set(name, { size, sha256: await writeFile(join(folder, name), content) });
    }
  };
  const source = Readable.from(archive.bytes, { objectMode: false });
  const options = signal === undefined ? {} : { signal };
  try {
    if (archive.isPlain) await pipeline(source, consume, options);
    else await pipeline(source, createGunzip({ chunkSize: GUNZIP_CHUNK_BYTES }), consume, options);
  } catch (cause) {
    if (errorCode(cause)?.startsWith("Z_")) throw new KmsError("malformed.archive", "archive: not gzip, or damaged", { cause });
    throw cause;
  }
  return files;
}

async function writeFile(path: string, content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const hash = createHash("sha256");
  await withFile(path, "wx", async (file) => {
    for await (const piece of content) {
      hash.update(piece);
      await file.writeFile(piece);
    }
  });
  return new Uint8Array(hash.digest());
}

/** A server that has another image under this name is one that does not have this image. */
async function manifestOf(folder: string, unpacked: ReadonlyMap<string, Unpacked>, osImageHash: Uint8Array): Promise<Manifest> {
  const bytes = await readSmall(folder, MANIFEST_NAME, unpacked, MAX_MANIFEST_BYTES);
  const actual = unpacked.get(MANIFEST_NAME)?.sha256 ?? new Uint8Array(0);
  if (!equal(actual, osImageHash)) {
    const values = `sha256(${MANIFEST_NAME}) expected=${toHex(osImageHash)}, actual=${toHex(actual)}`;
    throw new KmsError("unavailable.os-image", `the OS image cannot be downloaded: the archive is of another image: ${values}`);
  }
  return provenManifest(bytes, osImageHash);
}

function needListed(name: string, expected: Uint8Array, found: Unpacked | undefined): void {
  if (found === undefined)
    throw new KmsError("malformed.os-image", `${name}: listed in ${MANIFEST_NAME}, but not in the archive`);
  if (!equal(found.sha256, expected)) {
    const values = `expected=${toHex(expected)}, actual=${toHex(found.sha256)}`;
    throw new KmsError("malformed.os-image", `${name} mismatch: ${values}`);
  }
}

async function readSmall(
  folder: string,
  name: string,
  unpacked: ReadonlyMap<string, Unpacked>,
  most: number,
): Promise<Uint8Array> {
  const size = unpacked.get(name)?.size;
  if (size === undefined) throw new KmsError("malformed.os-image", `${name}: not in the archive, or not at its top level`);
  if (size > most) throw new KmsError("malformed.os-image", `${name}: need at most ${most} bytes, have ${size}`);
  return new Uint8Array(await readFile(join(folder, name)));
}

/** An image whose name lasts a power cut has its content too. */
function sync(path: string): Promise<void> {
  return withFile(path, "r", (file) => file.sync());
}

async function withFile(path: string, flags: "wx" | "r", use: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, flags, ownerOnly);
  try {
    await use(file);
  } finally {
    await file.close();
  }
}
