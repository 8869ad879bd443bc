/** Reads the files of an unpacked OS image: what is handed on was hashed in memory or while it was read, and is what the manifest lists. */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { equal, toHex } from "../../bytes.ts";
import { errorCode, KmsError } from "../../errors.ts";
import type { ImageFiles, InitrdDigest } from "./image-files.ts";
import {
  MANIFEST_NAME,
  MAX_MANIFEST_BYTES,
  MAX_METADATA_BYTES,
  type Manifest,
  METADATA_NAME,
  parseMetadata,
  provenManifest,
} from "./manifest.ts";

/** Today's have 4 and 15 MiB. */
const MAX_FIRMWARE_BYTES = 64 * 1024 * 1024;
const MAX_KERNEL_BYTES = 256 * 1024 * 1024;
/** The loader gives its size in 32 bits. */
const MAX_INITRD_BYTES = 0xffff_ffff;
const READ_BYTES = 1024 * 1024;

export interface LoadedImage {
  readonly osImageHash: Uint8Array;
  readonly files: ImageFiles;
}

/** For a folder as a release unpacks to. Without an expected hash the manifest in it says which image it is. */
export async function loadImage(dir: string, expected?: Uint8Array): Promise<LoadedImage> {
  const bytes = await readWhole(dir, MANIFEST_NAME, MAX_MANIFEST_BYTES);
  const osImageHash = expected ?? new Uint8Array(createHash("sha256").update(bytes).digest());
  return { osImageHash, files: await loadImageFiles(dir, provenManifest(bytes, osImageHash)) };
}

export async function loadManifest(dir: string, osImageHash: Uint8Array): Promise<Manifest> {
  return provenManifest(await readWhole(dir, MANIFEST_NAME, MAX_MANIFEST_BYTES), osImageHash);
}

export async function loadImageFiles(dir: string, manifest: Manifest): Promise<ImageFiles> {
  const metadata = parseMetadata(await readListed(dir, METADATA_NAME, manifest, MAX_METADATA_BYTES), manifest);
  const { cmdline, bios, kernel, initrd, ovmfVariant } = metadata;
  return {
    firmware: await readListed(dir, bios, manifest, MAX_FIRMWARE_BYTES),
    kernel: await readListed(dir, kernel, manifest, MAX_KERNEL_BYTES),
    initrd: await hashInitrd(dir, initrd, manifest),
    cmdline,
    ovmfVariant,
    paths: { firmware: join(dir, bios), kernel: join(dir, kernel), initrd: join(dir, initrd) },
  };
}

/** Every listed file, measured or not, against the manifest. */
export async function proveListed(dir: string, manifest: Manifest): Promise<void> {
  for (const name of manifest.keys()) {
    const sha256 = createHash("sha256");
    await withFile(dir, name, Number.MAX_SAFE_INTEGER, (file) => hashInto(file, [sha256]));
    needHash(name, manifest, sha256);
  }
}

async function readListed(dir: string, name: string, manifest: Manifest, most: number): Promise<Uint8Array> {
  const bytes = await readWhole(dir, name, most);
  needHash(name, manifest, createHash("sha256").update(bytes));
  return bytes;
}

async function hashInitrd(dir: string, name: string, manifest: Manifest): Promise<InitrdDigest> {
  const [sha256, sha384] = [createHash("sha256"), createHash("sha384")];
  const size = await withFile(dir, name, MAX_INITRD_BYTES, (file) => hashInto(file, [sha256, sha384]));
  needHash(name, manifest, sha256);
  return { size, sha384: new Uint8Array(sha384.digest()) };
}

async function hashInto(file: FileHandle, hashes: readonly Hash[]): Promise<number> {
  const buffer = new Uint8Array(READ_BYTES);
  let size = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
    if (bytesRead === 0) return size;
    for (const hash of hashes) hash.update(buffer.subarray(0, bytesRead));
    size += bytesRead;
  }
}

/** Into memory of the right size at once: collecting parts and copying them costs a third of the hash. */
function readWhole(dir: string, name: string, most: number): Promise<Uint8Array> {
  return withFile(dir, name, most, async (file, size) => {
    const bytes = new Uint8Array(size);
    let filled = 0;
    while (filled < size) {
      const { bytesRead } = await file.read(bytes, filled, size - filled, null);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  });
}

/** What is missing or no plain file is not what the manifest lists. */
async function withFile<T>(
  dir: string,
  name: string,
  most: number,
  use: (file: FileHandle, size: number) => Promise<T>,
): Promise<T> {
  const file = await open(join(dir, name), "r").catch((cause: unknown) => {
    throw new KmsError("malformed.os-image", `${name}: cannot be read: ${errorCode(cause) ?? "failed"}`, { cause });
  });
  try {
    const { size } = await file.stat();
    if (size > most) throw new KmsError("malformed.os-image", `${name}: need at most ${most} bytes, have ${size}`);
    return await use(file, size);
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw new KmsError("malformed.os-image", `${name}: cannot be read: ${errorCode(cause) ?? "failed"}`, { cause });
  } finally {
    await file.close();
  }
}

function needHash(name: string, manifest: Manifest, hash: Hash): void {
  const expected = manifest.get(name) ?? new Uint8Array(0);
  const actual = new Uint8Array(hash.digest());
  if (equal(actual, expected)) return;
  const values = `expected=${toHex(expected)}, actual=${toHex(actual)}`;
  throw new KmsError("malformed.os-image", `${name} mismatch: ${values}`);
}
