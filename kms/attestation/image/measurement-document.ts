/** The chain from an OS image hash to a measurement document: image hash → checksum file → document. */
import { createHash } from "node:crypto";
import { decode } from "cborg";
import { equal, fromHex, fromUtf8, toHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import type { MeasurementMaterial } from "./vm-config.ts";

/** Real checksum files have half a dozen lines, real documents a few hundred bytes. */
const MAX_CHECKSUM_FILE_BYTES = 64 * 1024;
const MAX_DOCUMENT_BYTES = 64 * 1024;

/** The document's bytes, proved to be the ones that `osImageHash` stands for. */
export function provenDocument(material: MeasurementMaterial, osImageHash: Uint8Array, name: string): Uint8Array {
  const { checksumFile, measurement } = material;
  limit(checksumFile, MAX_CHECKSUM_FILE_BYTES, "checksum_file");
  limit(measurement, MAX_DOCUMENT_BYTES, "measurement");
  const fileHash = sha256(checksumFile);
  if (!equal(fileHash, osImageHash)) {
    throw new KmsError("unproven.os-image", `os_image_hash mismatch: expected=${toHex(osImageHash)}, actual=${toHex(fileHash)}`);
  }
  const listed = hashListedFor(fromUtf8(checksumFile, "checksum_file", "malformed.vm-config"), name);
  const actual = sha256(measurement);
  if (!equal(actual, listed)) {
    throw new KmsError("unproven.os-image", `${name} mismatch: expected=${toHex(listed)}, actual=${toHex(actual)}`);
  }
  return measurement;
}

function hashListedFor(text: string, name: string): Uint8Array {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .map((line) => line.split(/\s+/));
  if (lines.some((tokens) => tokens.length < 2)) throw new KmsError("malformed.vm-config", "checksum_file: a line names no file");
  const [match, ...others] = lines.filter((tokens) => tokens[1] === name);
  if (match === undefined || others.length > 0) {
    throw new KmsError("unproven.os-image", `checksum_file: need one line for ${name}, have ${match ? others.length + 1 : 0}`);
  }
  return fromHex(match[0] ?? "", `checksum_file ${name}`, 32, "malformed.vm-config");
}

/** CBOR with text keys, strict: one value, no key twice, no indefinite lengths. */
export function decodeDocument(bytes: Uint8Array): ReadonlyMap<unknown, unknown> {
  limit(bytes, MAX_DOCUMENT_BYTES, "measurement");
  let value: unknown;
  try {
    value = decode(bytes, {
      useMaps: true,
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      allowNaN: false,
      allowInfinity: false,
      rejectDuplicateMapKeys: true,
    });
  } catch (cause) {
    throw new KmsError("malformed.vm-config", `measurement: not the CBOR it should be, ${bytes.length} bytes`, { cause });
  }
  return mapOf(value, "measurement");
}

export function memberMap(map: ReadonlyMap<unknown, unknown>, key: string): ReadonlyMap<unknown, unknown> {
  return mapOf(map.get(key), key);
}

export function memberBytes(map: ReadonlyMap<unknown, unknown>, key: string, length?: number): Uint8Array {
  const value = map.get(key);
  if (!(value instanceof Uint8Array)) throw new KmsError("malformed.vm-config", `measurement ${key}: need bytes`);
  if (length !== undefined && value.length !== length) {
    throw new KmsError("malformed.vm-config", `measurement ${key}: need ${length} bytes, have ${value.length}`);
  }
  return value;
}

function mapOf(value: unknown, what: string): ReadonlyMap<unknown, unknown> {
  if (!(value instanceof Map)) throw new KmsError("malformed.vm-config", `measurement ${what}: need a map`);
  return value;
}

function limit(bytes: Uint8Array, most: number, what: string): void {
  if (bytes.length > most) throw new KmsError("malformed.vm-config", `${what}: need at most ${most} bytes, have ${bytes.length}`);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}
