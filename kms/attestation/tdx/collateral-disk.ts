/** Collateral on disk: a file for each part, named by its digest, and an index; written whole and synced, read as what strangers may have changed. */
import { chmod, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fromUtf8 } from "../../bytes.ts";
import { asKmsError, errorCode, KmsError } from "../../errors.ts";
import {
  type CollateralIndex,
  decodeIndex,
  emptyIndex,
  encodeIndex,
  MAX_CHAINS,
  MAX_INDEX_BYTES,
  MAX_PARTS,
  rebuildIndex,
  type StoredItem,
  withItem,
  withRoomFor,
} from "./collateral-index.ts";
import { decodeItem, digestOf, encodeItem, factsOf, type Item } from "./collateral-items.ts";
import { withLock } from "./collateral-lock.ts";
import type { TrustAnchor } from "./trust-anchor.ts";

/** A revocation list in hex with its chain. */
const MAX_ITEM_BYTES = 4 * 1024 * 1024;
const FOLDER_MODE = 0o700;
const OTHERS_MAY_ACCESS = 0o077;
const FILE_MODE = 0o600;
const INDEX = "index.json";
const TEMPORARY = "index.part";
const ITEMS = "items";
const LOCK = ".lock";
const MAX_READS = 3;

/** The operations that change the folder: an argument, so that a test can end them where it likes. */
export interface CollateralDisk {
  makeFolder(path: string): Promise<void>;
  /** Replaces what is there. */
  write(path: string, content: Uint8Array): Promise<void>;
  sync(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
}

export const systemCollateralDisk: CollateralDisk = {
  async makeFolder(path) {
    const first = await mkdir(path, { recursive: true, mode: FOLDER_MODE });
    const isOpen = first === undefined && ((await stat(path)).mode & OTHERS_MAY_ACCESS) !== 0;
    if (first !== undefined || isOpen) await chmod(path, FOLDER_MODE); // another owner's is refused here
  },
  async write(path, content) {
    await rm(path, { force: true });
    const file = await open(path, "wx", FILE_MODE);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  async sync(path) {
    const file = await open(path, "r");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  },
  rename,
  remove: (path) => rm(path, { force: true }),
};

export interface StoredCollateral {
  readonly index: CollateralIndex;
  /** By name, as far as the file is there and whole. Not verified. */
  readonly items: ReadonlyMap<string, StoredItem>;
  /** For the operator: what was damaged. */
  readonly problems: readonly string[];
  /** Of the index as it was read; another one means that somebody wrote. */
  readonly stamp: string;
}

export interface CollateralFolder {
  readonly path: string;
  stamp(): Promise<string>;
  read(): Promise<StoredCollateral>;
  /**
   * Adds parts in one step: all, or none where one is older than what is there. `judgedBy` is the generation of the folder by which the
   * parts were judged: nothing is written where a reset came in between.
   */
  add(items: readonly Item[], judgedBy?: number): Promise<StoredCollateral>;
  /** Forgets every part and how new it was. */
  reset(): Promise<void>;
}

/** Each trust anchor has a folder of its own: what one vouches for says nothing about what another one does. */
export function collateralFolder(
  dir: string,
  anchor: TrustAnchor,
  disk: CollateralDisk = systemCollateralDisk,
): CollateralFolder {
  const path = join(dir, digestOf(anchor.certificate.raw));
  const locked = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      await disk.makeFolder(path);
      await disk.makeFolder(join(path, ITEMS));
      await disk.sync(dir);
      return await withLock(join(path, LOCK), work);
    } catch (cause) {
      throw diskFault(path, cause);
    }
  };
  /** A writer in between may have removed what the index named a moment ago. */
  const read = async (): Promise<StoredCollateral> => {
    for (let attempt = 1; ; attempt += 1) {
      const found = await readFolder(path);
      if (found.stamp === (await stampOf(path)) || attempt === MAX_READS) return found;
    }
  };
  return {
    path,
    stamp: () => stampOf(path),
    read,
    add: (items, judgedBy = Number.MAX_SAFE_INTEGER) =>
      locked(async () => {
        const before = await read();
        const { generation } = before.index;
        if (generation > judgedBy) return before;
        const stored = items.map((item) => ({ item, content: encodeItem(item) }));
        const added = stored.map(({ item, content }) => ({ item, digest: digestOf(content) }));
        const start = { ...before.index, generation: judgedBy === Number.MAX_SAFE_INTEGER ? generation : judgedBy };
        const index = added.reduce(withItem, withRoomFor(items, start, before.items)); // an older one ends the work here, before anything is written
        for (const { content } of stored) await disk.write(join(path, ITEMS, digestOf(content)), content);
        await disk.sync(join(path, ITEMS));
        await writeIndex(path, index, disk);
        await removeUnnamed(path, index, disk);
        return read();
      }),
    reset: () =>
      locked(async () => {
        const { index } = await read();
        const empty = { ...emptyIndex, generation: index.generation + 1 };
        await writeIndex(path, empty, disk);
        await removeUnnamed(path, empty, disk);
      }),
  };
}

async function writeIndex(path: string, index: CollateralIndex, disk: CollateralDisk): Promise<void> {
  await disk.write(join(path, TEMPORARY), encodeIndex(index));
  await disk.rename(join(path, TEMPORARY), join(path, INDEX));
  await disk.sync(path);
}

/** Also what a crash left between a part and the index. */
async function removeUnnamed(path: string, { files }: CollateralIndex, disk: CollateralDisk): Promise<void> {
  const named = new Set(files.values());
  for (const name of await readdir(join(path, ITEMS))) if (!named.has(name)) await disk.remove(join(path, ITEMS, name));
}

async function stampOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeMs } = await stat(join(path, INDEX));
    return `${ino} ${size} ${mtimeMs}`;
  } catch (cause) {
    if (errorCode(cause) === "ENOENT" || errorCode(cause) === "ENOTDIR") return "none";
    throw diskFault(path, cause);
  }
}

async function readFolder(path: string): Promise<StoredCollateral> {
  try {
    const stamp = await stampOf(path);
    const problems: string[] = [];
    const index = stamp === "none" ? undefined : await readIndex(path, problems);
    if (index === undefined) return { ...(await rebuild(path, problems)), stamp };
    const items = new Map<string, StoredItem>();
    for (const [name, digest] of index.files) {
      const item = await readItem(path, digest, problems);
      if (item !== undefined) items.set(name, { item, digest });
    }
    return { index, items, problems, stamp };
  } catch (cause) {
    throw diskFault(path, cause);
  }
}

async function readIndex(path: string, problems: string[]): Promise<CollateralIndex | undefined> {
  try {
    return decodeIndex(fromUtf8(await readBounded(join(path, INDEX), MAX_INDEX_BYTES), "index", "malformed.collateral"));
  } catch (thrown) {
    if (!(thrown instanceof KmsError)) throw thrown;
    problems.push(`${join(path, INDEX)} is damaged, it is made anew from the parts: ${thrown.message}`);
    return undefined;
  }
}

/** Parts say themselves how new they are, so that a lost index does not lose what may not go back. */
async function rebuild(path: string, problems: string[]): Promise<Omit<StoredCollateral, "stamp">> {
  const names = await readdir(join(path, ITEMS)).catch((cause: unknown) => {
    if (errorCode(cause) === "ENOENT" || errorCode(cause) === "ENOTDIR") return [];
    throw cause;
  });
  const stored: StoredItem[] = [];
  for (const digest of names.slice(0, MAX_PARTS + MAX_CHAINS)) {
    const item = await readItem(path, digest, problems);
    if (item !== undefined) stored.push({ item, digest });
  }
  if (stored.length > 0 && problems.length === 0)
    problems.push(`${join(path, INDEX)} is missing, it is made anew from the parts`);
  const index = rebuildIndex(stored, 0);
  const byDigest = new Map(stored.map((each) => [each.digest, each]));
  const items = [...index.files].flatMap(([name, digest]) => {
    const found = byDigest.get(digest);
    return found === undefined ? [] : [[name, found] as const];
  });
  return { index, items: new Map(items), problems };
}

/** Undefined for a file that is missing or is not what its name says. */
async function readItem(path: string, digest: string, problems: string[]): Promise<Item | undefined> {
  const file = join(path, ITEMS, digest);
  try {
    const content = await readBounded(file, MAX_ITEM_BYTES);
    if (digestOf(content) !== digest) throw new KmsError("malformed.collateral", "its content has another digest");
    const item = decodeItem(fromUtf8(content, "item", "malformed.collateral"), "item");
    factsOf(item);
    return item;
  } catch (thrown) {
    if (!(thrown instanceof KmsError) && errorCode(thrown) !== "ENOENT") throw thrown;
    problems.push(`${file} is ${thrown instanceof KmsError ? `damaged: ${thrown.message}` : "missing"}; it is fetched anew`);
    return undefined;
  }
}

async function readBounded(path: string, maxBytes: number): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    if (size > maxBytes) throw new KmsError("malformed.collateral", `need at most ${maxBytes} bytes, have ${size}`);
    return new Uint8Array(await file.readFile());
  } finally {
    await file.close();
  }
}

function diskFault(path: string, cause: unknown): KmsError {
  if (cause instanceof KmsError) return cause;
  const detail = errorCode(cause) ?? asKmsError(cause).message;
  const remedy = "it needs a folder of its own that this user can write, with room in it";
  return new KmsError("fault.collateral-store", `collateral folder ${path}: ${detail}: ${remedy}`, { cause });
}
