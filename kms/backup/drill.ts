/** Rehearses a recovery: restores an archive into a folder of its own, loads it as a start would, and derives from it. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { KmsError } from "../errors.ts";
import { loadKeySet } from "../keys/store.ts";
import { diskFault } from "../keys/store-disk.ts";
import { exists } from "../keys/store-files.ts";
import type { Archive } from "./archive.ts";
import { type KeyProof, proveRootKeys, sameProof } from "./probe.ts";
import { restoreFiles } from "./restore.ts";

/** The proof of the restored folder, which is removed again. It is compared with what the archive says it must be. */
export async function drillRestore(archive: Archive, workDir: string): Promise<KeyProof> {
  const dir = await mkdtemp(join(workDir, "kms-drill-")).catch((cause: unknown) => {
    throw diskFault(`folder ${workDir}: cannot hold a drill`, workDir, cause);
  });
  try {
    await restoreFiles(dir, archive.files);
    const proof = await proveFolder(dir);
    needSame(proof, archive.keys, "restored folder", "archive");
    return proof;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

export async function proveFolder(dir: string): Promise<KeyProof> {
  // the name is of no matter here, and with auto_bootstrap_domain there need be no file of it
  const { rootKeys, rpcKeyPem } = await loadKeySet(dir, (await exists(dir, "rpc-domain")) ? {} : { domain: "localhost" });
  rpcKeyPem.fill(0);
  try {
    return proveRootKeys(rootKeys);
  } finally {
    rootKeys.wipe();
  }
}

export function needSame(have: KeyProof, need: KeyProof, haveName: string, needName: string): void {
  if (sameProof(have, need)) return;
  throw new KmsError(
    "unproven.root-keys",
    `${haveName} and ${needName} have different keys: need k256 ${need.k256Pubkey}, have ${have.k256Pubkey}`,
  );
}
