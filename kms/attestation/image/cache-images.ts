/** The OS images on disk, one folder each under the image's hash: downloaded when an allowed guest first needs one, proved again on use. */
import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { BoundedMap } from "../../bounded-map.ts";
import { toHex } from "../../bytes.ts";
import { errorCode, KmsError } from "../../errors.ts";
import { type Fetch, openArchive } from "./archive-fetch.ts";
import type { TarLimits } from "./archive-tar.ts";
import { unpackImage } from "./archive-unpack.ts";
import { loadImageFiles, loadManifest, proveListed } from "./cache-load.ts";
import type { ImageFiles } from "./image-files.ts";
import { MANIFEST_NAME, type Manifest, METADATA_NAME, needImageHash } from "./manifest.ts";
import { SharedWork } from "./shared-work.ts";

export interface ImageStoreSettings {
  /** The images are in its folder `images`; one KMS to a folder. */
  readonly cacheDir: string;
  /** With `{OS_IMAGE_HASH}` in it. */
  readonly downloadUrl: string;
  /** For one image: download, unpacking and hashing. Undefined: no limit. */
  readonly timeoutMs: number | undefined;
  readonly fetch?: Fetch;
  readonly limits?: Partial<ArchiveLimits>;
  /** How long a caller waits for a download, which goes on without it. */
  readonly patienceMs?: number;
  /** Told of the end of each download, which may come after all its callers left. */
  readonly report?: (image: string, problem: unknown) => void;
}

export interface ArchiveLimits extends TarLimits {
  readonly archiveBytes: number;
}

const gib = 1024 ** 3;
/** Images with their root file system have some hundred MiB. */
export const archiveLimits: ArchiveLimits = { archiveBytes: 2 * gib, totalBytes: 4 * gib, fileBytes: 3 * gib, entries: 1024 };
/** A guest tries each KMS once and waits a minute: most of it goes to the image, so that a first boot need not be repeated. */
const PATIENCE_MS = 45_000;
const DOWNLOADS_AT_ONCE = 2;
/** An archive that was no good may have been gigabytes: a guest that keeps asking does not have it fetched over and over. */
const REST_MS = 10_000;
/** Half of the calls that are worked on at once: others must not find all places taken by those who wait. */
const MAX_WAITING = 64;
/** One app's guests do not keep those of others from waiting. */
const MAX_WAITING_OF_ONE_APP = 16;
/** A longer one would end at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** Firmware and kernel of each stay in memory: those of the image in use, and of the one that replaces it. */
const MAX_LOADED = 2;

export interface StoredImage {
  /** What is measured; proved while it was read. */
  files(): Promise<ImageFiles>;
  /** For who knows the measurement: that the files on disk are still what the manifest lists. */
  prove(): Promise<void>;
}

export interface DownloadCounts {
  readonly downloads: number;
  readonly failures: number;
}

export interface ImageStore {
  /**
   * The image of that hash, downloaded where it is missing; its manifest is proved on every use. `app` is in whose name its caller waits,
   * `until` how long at the most, as a value of `performance.now()`.
   */
  open(osImageHash: Uint8Array, app?: string, until?: number): Promise<StoredImage>;
  /** Removes what a crash left; what cannot be removed now is in nobody's way. */
  recover(): Promise<void>;
  counts(): DownloadCounts;
}

export function createImageStore(settings: ImageStoreSettings): ImageStore {
  const folder = join(settings.cacheDir, "images");
  const message = "the OS image is being downloaded, which goes on: try again later";
  const late = { code: "unavailable.os-image", message } as const;
  const patienceMs = settings.patienceMs ?? PATIENCE_MS;
  const downloads = new SharedWork<void>({
    running: DOWNLOADS_AT_ONCE,
    waiting: MAX_WAITING,
    callersOfOneOwner: MAX_WAITING_OF_ONE_APP,
    patienceMs,
    late,
    restMs: REST_MS,
  });
  const counts = { downloads: 0, failures: 0 };
  const known = createKnownImages();

  const download = async (name: string, osImageHash: Uint8Array): Promise<void> => {
    counts.downloads += 1;
    try {
      await downloadImage(settings, folder, osImageHash);
      await known.trust(join(folder, name), osImageHash);
      settings.report?.(name, undefined);
    } catch (thrown) {
      counts.failures += 1;
      settings.report?.(name, thrown);
      throw thrown;
    }
  };

  return {
    async open(osImageHash, app, until) {
      const name = toHex(needImageHash(osImageHash));
      const dir = join(folder, name);
      if (!(await exists(join(dir, METADATA_NAME)))) await downloads.run(name, () => download(name, osImageHash), app, until);
      return storedImage(dir, name, await mended(name, () => loadManifest(dir, osImageHash)), known);
    },
    async recover() {
      await rm(join(folder, "tmp"), { recursive: true, force: true }).catch(() => undefined);
    },
    counts: () => counts,
  };
}

function storedImage(dir: string, name: string, manifest: Manifest, known: KnownImages): StoredImage {
  return {
    files: () => mended(name, () => known.files(dir, manifest)),
    prove: () => mended(name, () => known.prove(dir, manifest)),
  };
}

/** Into a folder of its own, which then takes the image's name. */
async function downloadImage(settings: ImageStoreSettings, folder: string, osImageHash: Uint8Array): Promise<void> {
  const { downloadUrl: template, timeoutMs, fetch = globalThis.fetch } = settings;
  const limits = { ...archiveLimits, ...settings.limits };
  const signal = timeoutMs === undefined ? undefined : AbortSignal.timeout(Math.min(timeoutMs, MAX_TIMER_MS));
  let scratch: string | undefined;
  try {
    await mkdir(settings.cacheDir, { recursive: true });
    for (const path of [folder, join(folder, "tmp")]) await makeFolder(path);
    scratch = await mkdtemp(join(folder, "tmp", "image-"));
    const unpacked = join(scratch, "new");
    await mkdir(unpacked, 0o700);
    const archive = await openArchive({ template, osImageHash, maxBytes: limits.archiveBytes, signal, fetch });
    await unpackImage({ archive, folder: unpacked, osImageHash, limits, signal });
    await install(unpacked, join(folder, toHex(osImageHash)), join(scratch, "old"));
  } catch (thrown) {
    throw signal?.aborted === true ? tooSlow(timeoutMs, thrown) : diskProblem(folder, thrown);
  } finally {
    if (scratch !== undefined) await rm(scratch, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** One at a time: on a read-only file system the recursive form would say that something is missing. */
async function makeFolder(path: string): Promise<void> {
  await mkdir(path, 0o700).catch((thrown: unknown) => {
    if (errorCode(thrown) !== "EEXIST") throw thrown;
  });
}

/** A folder with content cannot be replaced in one step: a crash in between leaves no image, and the next use downloads it. */
async function install(unpacked: string, dir: string, old: string): Promise<void> {
  await rename(dir, old).catch((thrown: unknown) => {
    if (errorCode(thrown) !== "ENOENT") throw thrown;
  });
  await rename(unpacked, dir);
}

function tooSlow(timeoutMs: number | undefined, cause: unknown): KmsError {
  const message = `the OS image cannot be downloaded: not done within ${timeoutMs} ms (core.image.download_timeout)`;
  return new KmsError("unavailable.os-image", message, { cause });
}

const remedies: Readonly<Record<string, (folder: string) => string>> = {
  ENOSPC: (folder) => `no room on its disk: df -h ${folder}`,
  EDQUOT: (folder) => `no room on its disk: df -h ${folder}`,
  EROFS: (folder) => `read-only: mount ${folder} for writing, or put the image there`,
  EACCES: (folder) => `not this user's: ls -ld ${folder}`,
};

function diskProblem(folder: string, thrown: unknown): unknown {
  const code = errorCode(thrown);
  if (thrown instanceof KmsError || code === undefined) return thrown;
  const what = remedies[code]?.(folder) ?? code;
  return new KmsError("unavailable.os-image", `the OS image cannot be kept in core.image.cache_dir: ${what}`, { cause: thrown });
}

/** A copy on disk that is not what it was: nobody but an operator should be able to change it, so nothing mends it silently. */
async function mended<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (!(thrown instanceof KmsError)) throw thrown;
    const remedy = `the cached image is damaged, remove it: Admin.ClearImageCache with image_hash ${name}`;
    throw new KmsError(thrown.code, `${thrown.message} (${remedy})`, { cause: thrown.cause });
  }
}

interface KnownImages {
  files(dir: string, manifest: Manifest): Promise<ImageFiles>;
  prove(dir: string, manifest: Manifest): Promise<void>;
  /** Just unpacked, and hashed on the way. */
  trust(dir: string, osImageHash: Uint8Array): Promise<void>;
}

/** Files are hashed once a process, and again when their inode, size or a time of theirs is another. */
function createKnownImages(): KnownImages {
  const proven = new Map<string, string>();
  const loaded = new BoundedMap<string, { readonly marks: string; readonly files: ImageFiles }>(MAX_LOADED);
  return {
    async files(dir, manifest) {
      const marks = await marksOf(dir, manifest);
      const found = loaded.get(dir);
      if (found?.marks === marks) return found.files;
      const files = await loadImageFiles(dir, manifest);
      loaded.set(dir, { marks, files });
      return files;
    },
    async prove(dir, manifest) {
      const marks = await marksOf(dir, manifest);
      if (proven.get(dir) === marks) return;
      await proveListed(dir, manifest);
      proven.set(dir, marks);
    },
    async trust(dir, osImageHash) {
      proven.set(dir, await marksOf(dir, await loadManifest(dir, osImageHash)));
    },
  };
}

/** Taken before the files are read: what changes meanwhile has other marks the next time. */
async function marksOf(dir: string, manifest: Manifest): Promise<string> {
  const marks = await Promise.all(
    [...manifest.keys(), MANIFEST_NAME].map(async (name) => {
      const { ino, size, mtimeNs, ctimeNs } = await stat(join(dir, name), { bigint: true }).catch((cause: unknown) => {
        throw new KmsError("malformed.os-image", `${name}: cannot be read: ${errorCode(cause) ?? "failed"}`, { cause });
      });
      return [name, ino, size, mtimeNs, ctimeNs].join(" ");
    }),
  );
  return marks.join("\n");
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
