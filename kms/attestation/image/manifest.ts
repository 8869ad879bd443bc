/** The two files that say what an OS image is: `sha256sum.txt`, whose hash is the image's own, and `metadata.json`, which names the measured files. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { equal, fromHex, fromUtf8, needLength, toHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { OS_IMAGE_HASH_BYTES } from "./vm-config.ts";

export const MANIFEST_NAME = "sha256sum.txt";
export const METADATA_NAME = "metadata.json";
/** Real ones have half a dozen lines. */
export const MAX_MANIFEST_BYTES = 64 * 1024;
export const MAX_METADATA_BYTES = 64 * 1024;
const MAX_NAME_BYTES = 255;
/** As a loader's command line. */
const MAX_CMDLINE_CHARACTERS = 64 * 1024;

/** SHA-256 of each listed file, by name, in the order of the lines. */
export type Manifest = ReadonlyMap<string, Uint8Array>;

export interface ImageMetadata {
  readonly cmdline: string;
  readonly kernel: string;
  readonly initrd: string;
  /** The firmware. */
  readonly bios: string;
  readonly ovmfVariant: "pre202505" | undefined;
}

/** 32 bytes are demanded before any URL or path is made of them. */
export function needImageHash(osImageHash: Uint8Array): Uint8Array {
  return needLength(osImageHash, OS_IMAGE_HASH_BYTES, "os_image_hash", "unproven.os-image");
}

/** The identity of an image: the SHA-256 of its manifest. */
export function provenManifest(bytes: Uint8Array, osImageHash: Uint8Array): Manifest {
  const actual = new Uint8Array(createHash("sha256").update(bytes).digest());
  if (!equal(actual, needImageHash(osImageHash))) {
    const values = `expected=${toHex(osImageHash)}, actual=${toHex(actual)}`;
    throw new KmsError(
      "unproven.os-image",
      `legacy TDX attestation requires os_image_hash = sha256(${MANIFEST_NAME}): ${values}`,
    );
  }
  return parseManifest(bytes);
}

/** Lines of a hash and a plain name. Forms that two readers could take differently are refused: marks, escapes, a name twice. */
export function parseManifest(bytes: Uint8Array): Manifest {
  if (bytes.length > MAX_MANIFEST_BYTES) throw malformed(`need at most ${MAX_MANIFEST_BYTES} bytes, have ${bytes.length}`);
  const entries = new Map<string, Uint8Array>();
  const lines = fromUtf8(bytes, MANIFEST_NAME, "malformed.os-image").split("\n");
  for (const [index, line] of lines.entries()) {
    const fields = line.split(/[ \t\r]+/).filter((field) => field !== "");
    if (fields.length === 0) continue;
    const [hash, name] = fields;
    const where = `line ${index + 1}`;
    if (hash === undefined || name === undefined || fields.length > 2) throw malformed(`${where}: need a hash and one name`);
    if (!isPlainName(name) || name === MANIFEST_NAME) throw malformed(`${where}: not the name of a file beside it`);
    if (entries.has(name)) throw malformed(`${where}: ${name} is listed twice`);
    entries.set(
      name,
      needLength(
        fromHex(hash, `${MANIFEST_NAME} ${where}`, undefined, "malformed.os-image"),
        32,
        `${MANIFEST_NAME} ${where}`,
        "malformed.os-image",
      ),
    );
  }
  if (!entries.has(METADATA_NAME)) throw malformed(`${METADATA_NAME} is not listed`);
  return entries;
}

/** Letters, digits and what file names of images have beside them; a leading `*` is the binary mark of `sha256sum`. */
export function isPlainName(name: string): boolean {
  const isOrdinary = /^[^\p{Cc}\p{Cs}/\\*]+$/u.test(name);
  return isOrdinary && name !== "." && name !== ".." && Buffer.byteLength(name) <= MAX_NAME_BYTES;
}

const plainName = z.string().refine(isPlainName);
/** Members that do not matter to a launch are ignored. */
const schema = z.object({
  cmdline: z.string().max(MAX_CMDLINE_CHARACTERS),
  kernel: plainName,
  initrd: plainName,
  bios: plainName,
  ovmf_variant: z.string().nullish(),
});

/** What the manifest does not list is not bound to the image hash, so every named file must be in it. */
export function parseMetadata(bytes: Uint8Array, manifest: Manifest): ImageMetadata {
  const { cmdline, kernel, initrd, bios, ovmf_variant } = readMetadata(bytes);
  for (const name of [kernel, initrd, bios]) {
    if (!manifest.has(name))
      throw new KmsError("malformed.os-image", `${METADATA_NAME}: ${name} is not listed in ${MANIFEST_NAME}`);
  }
  const variant = ovmf_variant ?? undefined;
  if (variant !== undefined && variant !== "pre202505") {
    throw new KmsError("malformed.os-image", `${METADATA_NAME} ovmf_variant: need pre202505, the only one that is known`);
  }
  return { cmdline, kernel, initrd, bios, ovmfVariant: variant };
}

function readMetadata(bytes: Uint8Array): z.infer<typeof schema> {
  try {
    return schema.parse(JSON.parse(fromUtf8(bytes, METADATA_NAME, "malformed.os-image")));
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    const need = "need cmdline, and the plain file names kernel, initrd and bios";
    throw new KmsError("malformed.os-image", `${METADATA_NAME}: ${need}`, { cause });
  }
}

function malformed(what: string): KmsError {
  return new KmsError("malformed.os-image", `${MANIFEST_NAME}: ${what}`);
}
