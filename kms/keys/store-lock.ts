/** One process at a time on a certificate folder, by a lock of the kernel on a file in it. */
import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { errorCode, KmsError } from "../errors.ts";
import { diskFault, ensureFolder, systemDisk } from "./store-disk.ts";

export const lockFile = ".lock";

export interface KeyStoreLock {
  /** False where nothing can be written: then there is nothing to guard. */
  readonly isHeld: boolean;
  release(): void;
}

/** Result codes of SQLite. */
const busy = 5;
const notADatabase = 26;
const readOnlyCodes = ["EROFS", "EACCES", "EPERM"];

/**
 * A file with a process id in it goes stale with every kill -9, and containers that share a volume see neither each other's
 * processes nor sockets. A lock on the open file is the kernel's: it ends with the process, and counts for all on this machine.
 * Node has no call for it; SQLite takes one on its database, which here stays empty for ever. The file is never removed: a
 * process that locks a removed file would guard nothing.
 */
export async function lockKeyStore(dir: string): Promise<KeyStoreLock> {
  await ensureFolder(dir, systemDisk);
  if (await isReadOnly(dir)) return { isHeld: false, release: () => undefined };
  const path = join(dir, lockFile);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
  } catch (cause) {
    database?.close();
    throw lockFault(dir, cause);
  }
  const held = database; // an unreachable database is closed, and the lock with it: whoever holds the lock holds this
  return { isHeld: true, release: () => held.isOpen && held.close() };
}

async function isReadOnly(dir: string): Promise<boolean> {
  try {
    await access(dir, constants.W_OK);
    return false;
  } catch (cause) {
    if (readOnlyCodes.includes(errorCode(cause) ?? "")) return true;
    throw diskFault(`certificate folder ${dir}: cannot be used`, dir, cause);
  }
}

function lockFault(dir: string, cause: unknown): KmsError {
  const path = join(dir, lockFile);
  const result =
    cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number" ? cause.errcode & 0xff : undefined;
  if (result === busy) {
    const remedy = `end it first; this shows who has it open: fuser -v ${path}`;
    return new KmsError("unavailable.key-store", `certificate folder ${dir}: another process uses it: ${remedy}`, { cause });
  }
  if (result === notADatabase) {
    return new KmsError("fault.key-store", `${path}: is not ours: move it away: mv ${path} ${path}.old`, { cause });
  }
  const remedy = "its file system must support locks (fcntl), and this user must be allowed to write the file";
  return new KmsError("fault.key-store", `${path}: cannot be locked: ${remedy}`, { cause });
}
