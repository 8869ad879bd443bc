/** Files that a command writes where the operator says: never over another without being told to. */
import { writeFile } from "node:fs/promises";
import { type Code, errorCode, KmsError } from "../../kms/errors.ts";
import { hinted } from "./cli.ts";

/** What is said of a file that is there already. */
export interface Occupied {
  readonly code: Code;
  readonly problem: string;
  readonly hint: string;
}

export async function writeOutput(path: string, bytes: Uint8Array, mayReplace: boolean, occupied: Occupied): Promise<void> {
  try {
    await writeFile(path, bytes, { flag: mayReplace ? "w" : "wx" });
  } catch (cause) {
    if (errorCode(cause) !== "EEXIST") throw new KmsError("malformed.file", `${path}: cannot be written`, { cause });
    throw hinted(occupied.code, `${path}: ${occupied.problem}`, occupied.hint, { cause });
  }
}
