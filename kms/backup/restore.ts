/** Puts the files of an archive into an empty folder, through the same sealed stage as a new KMS: all of them or none. */
import { KmsError } from "../errors.ts";
import { ensureFolder, systemDisk } from "../keys/store-disk.ts";
import { type FileWrite, namesIn } from "../keys/store-files.ts";
import { lockFile, lockKeyStore } from "../keys/store-lock.ts";
import { publishStage, writeStage } from "../keys/store-stage.ts";

/** What a mount point or an idle KMS may have in it. */
const nothing = [lockFile, "lost+found"];

export async function restoreFiles(dir: string, files: readonly FileWrite[], disk = systemDisk): Promise<void> {
  await ensureFolder(dir, disk);
  const lock = await lockKeyStore(dir);
  try {
    await needEmpty(dir);
    await writeStage(dir, files, disk);
    await publishStage(dir, disk);
  } finally {
    lock.release();
  }
}

/** Also of files that are no keys: a restored folder holds what was archived and nothing else. */
export async function needEmpty(dir: string): Promise<void> {
  const present = ((await namesIn(dir)) ?? []).filter((name) => !nothing.includes(name)).sort();
  if (present.length === 0) return;
  const shown = present.slice(0, 3).join(", ");
  throw new KmsError("denied.folder-not-empty", `folder ${dir}: need an empty one, have ${present.length} names (${shown})`);
}
