/** A folder for what the tests of one file write, gone with the last of them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

export interface Scratch {
  readonly dir: string;
  /** Writes a file that only its owner reads, and answers its path. */
  readonly file: (name: string, content: string | Uint8Array) => string;
}

export function scratchFolder(): Scratch {
  const dir = mkdtempSync(join(tmpdir(), "keyward-test-"));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const file = (name: string, content: string | Uint8Array) => {
    const path = join(dir, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  return { dir, file };
}
