/** What changes the certificate folder: six operations, an argument of the store, so that a test can end the process at each; and their errors. */
import { type FileHandle, mkdir, open, rename, rm, rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import { errorCode, KmsError } from "../errors.ts";

export interface Disk {
  /** With its parents; the first that was made, or undefined when all were there. */
  makeFolder(path: string): Promise<string | undefined>;
  /** A file that must not exist yet. */
  writeNew(path: string, content: Uint8Array, mode: number): Promise<void>;
  /** A file's content, or a folder's names. */
  sync(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** A file that may be missing. */
  remove(path: string): Promise<void>;
  removeFolder(path: string): Promise<void>;
}

const folderMode = 0o700;
const ownerOnly = 0o600;

export const systemDisk: Disk = {
  async makeFolder(path) {
    try {
      await mkdir(path, folderMode);
      return path;
    } catch (cause) {
      // on a read-only file system the recursive form would answer ENOENT
      if (!["ENOENT", "EEXIST"].includes(errorCode(cause) ?? "")) throw cause;
      return mkdir(path, { recursive: true, mode: folderMode });
    }
  },
  writeNew: (path, content, mode) =>
    withFile(path, "wx", async (file) => {
      await file.writeFile(content);
      await file.chmod(mode); // the umask must not decide
    }),
  sync: (path) => withFile(path, "r", (file) => file.sync()),
  rename,
  remove: (path) => rm(path, { force: true }),
  removeFolder: rmdir,
};

/** Makes the certificate folder where it is missing, and makes its name last. */
export async function ensureFolder(dir: string, disk: Disk): Promise<void> {
  try {
    const first = await disk.makeFolder(dir);
    if (first === undefined) return;
    for (let path = dir; ; path = dirname(path)) {
      await disk.sync(dirname(path));
      if (path === first || path === dirname(path)) return;
    }
  } catch (cause) {
    throw diskFault(`certificate folder ${dir}: cannot be made`, dir, cause);
  }
}

/** A failed operation as a refusal that ends in the command which mends it. */
export function diskFault(what: string, path: string, cause: unknown): KmsError {
  if (cause instanceof KmsError) return cause;
  const code = errorCode(cause);
  const remedy = code === undefined ? undefined : remedies[code]?.(path);
  return new KmsError("fault.key-store", [what, code ?? "failed", ...(remedy ?? [])].join(": "), { cause });
}

type Remedy = (path: string) => [string];
const freeSpace: Remedy = (path) => [`make room on its disk, then start again: df -h ${path}`];
const ownership: Remedy = (path) => [
  `make it this user's: chown -R ${process.getuid?.() ?? 0} ${path} && chmod -R u+rwX ${path}`,
];
const remedies: Readonly<Record<string, Remedy>> = {
  ENOSPC: freeSpace,
  EDQUOT: freeSpace,
  EFBIG: () => ["the limit on file sizes is too small: ulimit -f unlimited"],
  EROFS: (path) => [`its file system is read-only: mount -o remount,rw "$(findmnt -no TARGET -T ${path})"`],
  EACCES: ownership,
  EPERM: ownership,
  EEXIST: (path) => [`something else has this name: ls -ld ${path}`],
  ENOTDIR: (path) => [`a part of the path is no folder: namei -l ${path}`],
};

async function withFile(path: string, flags: "wx" | "r", use: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, flags, ownerOnly);
  try {
    await use(file);
  } finally {
    await file.close();
  }
}
