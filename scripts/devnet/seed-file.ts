/** The platform seed in the state folder: written once, readable by its owner alone. */
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { needLength } from "../../kms/bytes.ts";

const seedBytes = 32;

export async function createSeedFile(path: string, seed: Uint8Array = randomBytes(seedBytes)): Promise<void> {
  await writeFile(path, needLength(seed, seedBytes, "platform seed"), { mode: 0o600, flag: "wx" });
}

export async function loadSeedFile(path: string): Promise<Uint8Array> {
  return needLength(new Uint8Array(await readFile(path)), seedBytes, `platform seed ${path}`, "malformed.file");
}
