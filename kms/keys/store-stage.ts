/**
 * Puts a new KMS in place so that a crash at any moment leaves none or a whole one. All files are written into a subfolder and
 * synced; a manifest written last seals it; then they move out, one by one. The certificate folder itself may be a mount point,
 * so it is never renamed.
 */
import { join } from "node:path";
import { KmsError } from "../errors.ts";
import { wipe } from "./kdf.ts";
import { type Disk, diskFault } from "./store-disk.ts";
import { exists, type FileWrite, namesIn, publicMode, readBytes } from "./store-files.ts";
import { decodeManifest, encodeManifest, isSecret, type Manifest, manifestOf, verifyEntry } from "./store-manifest.ts";

export const stageFolder = ".stage";
const seal = "manifest.json";
const unsealed = "manifest.part";

export type Recovery = "nothing" | "completed" | "discarded";

/** Returns once the seal is on disk: from then on the files are the KMS of this folder, whatever happens. */
export async function writeStage(dir: string, files: readonly FileWrite[], disk: Disk): Promise<void> {
  const stage = join(dir, stageFolder);
  try {
    await disk.makeFolder(stage);
    for (const { name, content, mode } of files) await writeSynced(join(stage, name), content, mode, disk);
    await disk.sync(stage);
    await disk.sync(dir);
    await writeSynced(join(stage, unsealed), encodeManifest(manifestOf(files)), publicMode, disk);
    await disk.rename(join(stage, unsealed), join(stage, seal));
    await disk.sync(stage);
  } catch (cause) {
    // the folder may be full: what is not sealed is worth nothing, and the next start would remove it too
    await removeUnsealed(dir, disk).catch(() => undefined);
    throw diskFault(`certificate folder ${dir}: cannot be written`, dir, cause);
  }
}

/** What a start does with the stage of a process that ended: a sealed one is moved on to its end, any other removed. */
export async function recoverStage(dir: string, disk: Disk): Promise<Recovery> {
  const found = await removeUnsealed(dir, disk);
  if (found !== "sealed") return found;
  await publishStage(dir, disk);
  return "completed";
}

async function removeUnsealed(dir: string, disk: Disk): Promise<"nothing" | "discarded" | "sealed"> {
  const names = await namesIn(join(dir, stageFolder));
  if (names === undefined) return "nothing";
  if (names.includes(seal)) return "sealed";
  await mend(dir, () => removeStage(dir, names, disk));
  return "discarded";
}

/** Moves what is still in a sealed stage, after all of it was found whole; the seal goes last. */
export async function publishStage(dir: string, disk: Disk): Promise<void> {
  const stage = join(dir, stageFolder);
  const manifest = decodeManifest(await readBytes(stage, seal), `${stageFolder}/${seal}`);
  const staged = await inStage(stage, manifest);
  if (staged.length > 0) await verifyFiles(dir, manifest, staged);
  await mend(dir, async () => {
    for (const name of staged) await disk.rename(join(stage, name), join(dir, name));
    await disk.sync(dir);
    await disk.sync(stage);
    await removeStage(dir, [seal], disk);
  });
}

async function inStage(stage: string, { files }: Manifest): Promise<string[]> {
  const present = await Promise.all(files.map(({ name }) => exists(stage, name)));
  return files.filter((_file, index) => present[index]).map(({ name }) => name);
}

/** Every file is where it should be and as the manifest says, and no key takes the place of another. */
async function verifyFiles(dir: string, { files }: Manifest, staged: readonly string[]): Promise<void> {
  for (const entry of files) {
    const isStaged = staged.includes(entry.name);
    if (isStaged && isSecret(entry) && (await exists(dir, entry.name))) {
      const remedy = "one of them is not of this KMS: compare, then move it away";
      throw new KmsError("fault.key-store", `certificate folder ${dir}: ${entry.name} is in it and in ${stageFolder}: ${remedy}`);
    }
    const content = await readBytes(isStaged ? join(dir, stageFolder) : dir, entry.name);
    try {
      verifyEntry(entry, content);
    } finally {
      wipe(content);
    }
  }
}

async function removeStage(dir: string, names: readonly string[], disk: Disk): Promise<void> {
  const stage = join(dir, stageFolder);
  for (const name of names) await disk.remove(join(stage, name));
  await disk.removeFolder(stage);
  await disk.sync(dir);
}

async function mend(dir: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    throw diskFault(
      `certificate folder ${dir}: ${stageFolder} cannot be put in place, the next start goes on with it`,
      dir,
      cause,
    );
  }
}

async function writeSynced(path: string, content: Uint8Array, mode: number, disk: Disk): Promise<void> {
  await disk.writeNew(path, content, mode);
  await disk.sync(path);
}
