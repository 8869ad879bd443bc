/** Files of the certificate folder: bounded reads that name the file, and writes that a crash leaves whole or undone. */
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fromUtf8, utf8 } from "../bytes.ts";
import { asKmsError, KmsError } from "../errors.ts";

export const secretMode = 0o600;
export const publicMode = 0o644;
const othersMayAccess = 0o077;
/** Certificates carry evidence of tens of kilobytes; nothing of ours comes near this. */
const maxFileBytes = 4 * 1024 * 1024;

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

/** First all contents reach the disk under temporary names, then each takes its own name, in order; then the folder is synced. */
export async function writeFiles(dir: string, writes: readonly FileWrite[]): Promise<void> {
  const staged: { readonly from: string; readonly to: string }[] = [];
  try {
    for (const { name, content, mode } of writes) {
      const from = join(dir, `.${name}.${process.pid}.tmp`);
      await rm(from, { force: true }); // of a crashed process with our id
      staged.push({ from, to: join(dir, name) });
      await writeSynced(from, content, mode);
    }
    for (const { from, to } of staged) await rename(from, to);
    await syncFolder(dir);
  } catch (cause) {
    await Promise.allSettled(staged.map(({ from }) => rm(from, { force: true })));
    throw fault(`certificate folder ${dir}: cannot write`, cause);
  }
}

export async function exists(dir: string, name: string): Promise<boolean> {
  try {
    await stat(join(dir, name));
    return true;
  } catch (cause) {
    if (errorCode(cause) === "ENOENT") return false;
    throw fault(`${name}: cannot be looked at`, cause);
  }
}

export async function readBytes(dir: string, name: string): Promise<Uint8Array> {
  try {
    const path = join(dir, name);
    const { size } = await stat(path);
    if (size > maxFileBytes) throw new KmsError("fault.key-store", `${name}: need at most ${maxFileBytes} bytes, have ${size}`);
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw fault(`${name}: cannot be read`, cause);
  }
}

export async function readText(dir: string, name: string): Promise<string> {
  return fromUtf8(await readBytes(dir, name), name, "fault.key-store");
}

/** The names among these that group or world may read or write. */
export async function looselyKept(dir: string, names: readonly string[]): Promise<string[]> {
  const modes = await Promise.all(names.map(async (name) => (await stat(join(dir, name))).mode));
  return names.filter((_name, index) => ((modes[index] ?? 0) & othersMayAccess) !== 0);
}

/** Runs a decoder on a file's content; what it refuses is a fault of the folder, named by the file. */
export function inFile<T>(name: string, decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    throw new KmsError("fault.key-store", `${name}: ${asKmsError(cause).message}`, { cause });
  }
}

async function writeSynced(path: string, content: Uint8Array, mode: number): Promise<void> {
  const file = await open(path, "wx", secretMode);
  try {
    await file.writeFile(content);
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function fault(what: string, cause: unknown): KmsError {
  return new KmsError("fault.key-store", `${what}: ${errorCode(cause) ?? "failed"}`, { cause });
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
