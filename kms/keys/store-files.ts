/** Files of the certificate folder: bounded reads that name the file, and the replacement of one that a crash leaves old or new. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fromUtf8, utf8 } from "../bytes.ts";
import { asKmsError, errorCode, KmsError } from "../errors.ts";
import { type Disk, diskFault } from "./store-disk.ts";

export const secretMode = 0o600;
export const publicMode = 0o644;
/** Certificates carry evidence of tens of kilobytes; nothing of ours comes near this. */
export const maxFileBytes = 4 * 1024 * 1024;

export interface FileWrite {
  readonly name: string;
  readonly content: Uint8Array;
  readonly mode: typeof secretMode | typeof publicMode;
}

export function secretFile(name: string, content: Uint8Array): FileWrite {
  return { name, content, mode: secretMode };
}

export function publicFile(name: string, text: string): FileWrite {
  return { name, content: utf8(text), mode: publicMode };
}

/** Also of earlier releases, which put their process id in, and wrote keys this way. */
const temporary = /^\.[a-z0-9-]+(?:\.[a-z]+)?(?:\.\d+)?\.tmp$/;

/** What a crash left of a replacement. */
export async function removeTemporaries(dir: string, disk: Disk): Promise<void> {
  try {
    for (const name of (await namesIn(dir)) ?? []) if (temporary.test(name)) await disk.remove(join(dir, name));
  } catch (cause) {
    throw diskFault(`certificate folder ${dir}: temporary files cannot be removed`, dir, cause);
  }
}

/** Undefined for a folder that does not exist. */
export async function namesIn(folder: string): Promise<string[] | undefined> {
  try {
    return await readdir(folder);
  } catch (cause) {
    if (errorCode(cause) === "ENOENT") return undefined;
    throw diskFault(`${folder}: cannot be read`, folder, cause);
  }
}

export async function replaceFile(dir: string, { name, content, mode }: FileWrite, disk: Disk): Promise<void> {
  const from = join(dir, `.${name}.tmp`);
  try {
    await disk.remove(from);
    await disk.writeNew(from, content, mode);
    await disk.sync(from);
    await disk.rename(from, join(dir, name));
    await disk.sync(dir);
  } catch (cause) {
    await disk.remove(from).catch(() => undefined);
    throw diskFault(`certificate folder ${dir}: ${name} cannot be written`, dir, cause);
  }
}

export async function exists(dir: string, name: string): Promise<boolean> {
  try {
    await stat(join(dir, name));
    return true;
  } catch (cause) {
    if (errorCode(cause) === "ENOENT") return false;
    throw diskFault(`${name}: cannot be looked at`, dir, cause);
  }
}

export async function readBytes(dir: string, name: string): Promise<Uint8Array> {
  const path = join(dir, name);
  try {
    const { size } = await stat(path);
    if (size > maxFileBytes) throw new KmsError("fault.key-store", `${name}: need at most ${maxFileBytes} bytes, have ${size}`);
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    throw diskFault(`${name}: cannot be read`, path, cause);
  }
}

export async function readText(dir: string, name: string): Promise<string> {
  return fromUtf8(await readBytes(dir, name), name, "fault.key-store");
}

/** The names among these on which any of these mode bits is set. */
export async function withModeBits(dir: string, names: readonly string[], bits: number): Promise<string[]> {
  const modes = await Promise.all(names.map(async (name) => (await stat(join(dir, name))).mode));
  return names.filter((_name, index) => ((modes[index] ?? 0) & bits) !== 0);
}

/** Runs a decoder on a file's content; what it refuses is a fault of the folder, named by the file. */
export function inFile<T>(name: string, decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    throw new KmsError("fault.key-store", `${name}: ${asKmsError(cause).message}`, { cause });
  }
}
