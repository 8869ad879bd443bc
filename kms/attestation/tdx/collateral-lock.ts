/** One writer at a time on a collateral folder, among all processes of the machine: a lock of the kernel that ends with its process. */
import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { KmsError } from "../../errors.ts";

/** Writers hold it for milliseconds. */
const WAIT_MS = 5_000;
const RETRY_MS = 25;
/** A result code of SQLite. */
const BUSY = 5;

/** Waits without blocking the process: SQLite's own waiting would. The file stays: a lock on a removed file guards nothing. */
export async function withLock<T>(path: string, work: () => Promise<T>, waitMs = WAIT_MS): Promise<T> {
  for (const start = performance.now(); ; await pause(RETRY_MS)) {
    const held = take(path);
    if (held !== undefined) {
      try {
        return await work();
      } finally {
        held.close();
      }
    }
    if (performance.now() - start > waitMs) {
      throw new KmsError("unavailable.collateral-store", `another process writes collateral; this shows who: fuser -v ${path}`);
    }
  }
}

/** Node has no call for locks; SQLite takes one on its database, which here stays empty. */
function take(path: string): DatabaseSync | undefined {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return database;
  } catch (cause) {
    database.close();
    const result = cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number" ? cause.errcode & 0xff : 0;
    if (result === BUSY) return undefined;
    throw cause;
  }
}
