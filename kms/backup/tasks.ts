/** The three tasks on backups, whole: an archive of a certificate folder, its restore, and the rehearsal of it. */
import { basename, dirname } from "node:path";
import { KmsError } from "../errors.ts";
import { inspectKeyStore } from "../keys/store.ts";
import { systemDisk } from "../keys/store-disk.ts";
import { exists, replaceFile, secretFile } from "../keys/store-files.ts";
import { parseIdentities } from "./age.ts";
import { type Archive, openArchive, sealArchive } from "./archive.ts";
import { drillRestore, needSame, proveFolder } from "./drill.ts";
import { readKeyFiles, wipeFiles } from "./key-files.ts";
import type { KeyProof } from "./probe.ts";
import { needEmpty, restoreFiles } from "./restore.ts";

/** Told what goes on. */
type Say = (words: string) => void;

export interface Sealed {
  readonly bytes: number;
  readonly recipients: number;
  readonly createdAt: string;
  readonly keys: KeyProof;
}

export async function createBackup(
  { certDir, recipients, out }: { certDir: string; recipients: readonly string[]; out: string },
  say: Say,
): Promise<Sealed> {
  if (await exists(dirname(out), basename(out))) throw new KmsError("malformed.usage", `${out}: exists, name a new file`);
  if ((await inspectKeyStore(certDir)) === "empty") {
    throw new KmsError("malformed.usage", `certificate folder ${certDir}: holds no keys`);
  }
  const files = await readKeyFiles(certDir);
  try {
    say(`${files.length} files read, checking that they belong together`);
    const { bytes, createdAt, keys } = await sealArchive(files, recipients, new Date());
    await replaceFile(dirname(out), secretFile(basename(out), bytes), systemDisk);
    return { bytes: bytes.length, recipients: new Set(recipients).size, createdAt, keys };
  } finally {
    wipeFiles(files);
  }
}

/** An archive's bytes, and the text of the file of identities that opens it. */
export interface Opening {
  readonly archive: Uint8Array;
  readonly identities: string;
}

export interface Restored {
  readonly files: number;
  readonly createdAt: string;
  readonly keys: KeyProof;
}

export async function restoreBackup(opening: () => Promise<Opening>, certDir: string, say: Say): Promise<Restored> {
  await needEmpty(certDir);
  return withArchive(await opening(), async (archive) => {
    say("archive opened and checked, writing");
    await restoreFiles(certDir, archive.files);
    needSame(await proveFolder(certDir), archive.keys, "restored folder", "archive");
    return { files: archive.files.length, createdAt: archive.createdAt, keys: archive.keys };
  });
}

export async function drillBackup(
  opening: Opening,
  { certDir, workDir }: { certDir: string | undefined; workDir: string },
  say: Say,
): Promise<Restored> {
  return withArchive(opening, async (archive) => {
    say("archive opened and checked, restoring into a temporary folder");
    const keys = await drillRestore(archive, workDir);
    if (certDir !== undefined) {
      say(`comparing with ${certDir}`);
      needSame(keys, await proveFolder(certDir), "archive", certDir);
    }
    return { files: archive.files.length, createdAt: archive.createdAt, keys };
  });
}

async function withArchive<T>({ archive: bytes, identities }: Opening, use: (archive: Archive) => Promise<T>): Promise<T> {
  const archive = await openArchive(bytes, parseIdentities(identities));
  try {
    return await use(archive);
  } finally {
    wipeFiles(archive.files);
  }
}
