/** The store's file operations on a real folder, ended by a crash before the n-th one; a power failure also takes what was not synced. */
import { readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { errorCode } from "../../../kms/errors.ts";
import { type Disk, systemDisk } from "../../../kms/keys/store-disk.ts";

export interface Crash {
  /** Operations that are done before the end. */
  readonly after: number;
  /** A write that the crash meets leaves half of its bytes. */
  readonly torn?: boolean;
  /** Ends the process, or says that it would have ended: the operation then never returns. */
  readonly end: () => void;
}

export function crashDisk(crash: Crash): Disk {
  let done = 0;
  const guarded = async <T>(work: () => Promise<T>, partly?: () => Promise<void>): Promise<T> => {
    if (done >= crash.after) {
      if (done === crash.after && crash.torn === true) await partly?.();
      done = Number.POSITIVE_INFINITY;
      crash.end();
      return new Promise<never>(() => undefined);
    }
    done += 1;
    return work();
  };
  return {
    makeFolder: (path) => guarded(() => systemDisk.makeFolder(path)),
    writeNew: (path, content, mode) =>
      guarded(
        () => systemDisk.writeNew(path, content, mode),
        () => systemDisk.writeNew(path, content.subarray(0, content.length / 2), mode),
      ),
    sync: (path) => guarded(() => systemDisk.sync(path)),
    rename: (from, to) => guarded(() => systemDisk.rename(from, to)),
    remove: (path) => guarded(() => systemDisk.remove(path)),
    removeFolder: (path) => guarded(() => systemDisk.removeFolder(path)),
  };
}

export interface VolatileDisk extends Disk {
  /** Takes back what no sync made last: of the changes of names all, or those that `keeps` is false for. */
  fail(keeps: (index: number) => boolean): void;
}

interface NameChange {
  readonly folders: readonly string[];
  readonly undo: () => void;
}

/** Remembers what a machine that loses its power now may forget. Names are made to last by a sync of each folder they are in. */
export function volatileDisk(disk: Disk): VolatileDisk {
  let names: NameChange[] = [];
  let contents = new Map<string, number>();
  const changed = (folders: readonly string[], undo: () => void) => void names.push({ folders, undo });
  return {
    async makeFolder(path) {
      const first = await disk.makeFolder(path);
      if (first !== undefined) changed([dirname(first)], () => rmSync(first, { recursive: true, force: true }));
      return first;
    },
    async writeNew(path, content, mode) {
      await disk.writeNew(path, content, mode);
      contents.set(path, content.length);
      changed([dirname(path)], () => rmSync(path, { force: true }));
    },
    async sync(path) {
      await disk.sync(path);
      contents.delete(path);
      names = names.map(({ folders, undo }) => ({ folders: folders.filter((folder) => folder !== path), undo }));
      names = names.filter(({ folders }) => folders.length > 0);
    },
    async rename(from, to) {
      await disk.rename(from, to);
      const size = contents.get(from);
      if (size !== undefined) contents.set(to, size);
      contents.delete(from);
      changed([dirname(from), dirname(to)], () => renameSync(to, from));
    },
    async remove(path) {
      const before = read(path);
      await disk.remove(path);
      if (before !== undefined) changed([dirname(path)], () => writeFileSync(path, before, { mode: 0o600 }));
    },
    async removeFolder(path) {
      await disk.removeFolder(path); // an empty folder more or less decides nothing
    },
    fail(keeps) {
      for (const path of contents.keys()) if (read(path) !== undefined) truncateSync(path, 0);
      const lost = names.filter((_change, index) => !keeps(index));
      for (const { undo } of lost.reverse()) attempt(undo);
      [names, contents] = [[], new Map()];
    },
  };
}

function read(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** What depends on a name that is lost is lost with it. */
function attempt(undo: () => void): void {
  try {
    undo();
  } catch (thrown) {
    if (errorCode(thrown) !== "ENOENT") throw thrown;
  }
}
