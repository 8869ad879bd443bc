/** The revision in X-App-Version: what the build said, else the clone's commit, else that nobody knows. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readRevision } from "../../kms/revision.ts";

const commit = "0123456789abcdef0123456789abcdef01234567";
const shown = "0123456789ab";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "revision-"));
});
afterEach(() => rmSync(root, { recursive: true }));

function clone(files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(root, ".git", name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}

test.each<[string, string | undefined, Record<string, string>, string]>([
  ["what the build said", commit, {}, shown],
  ["what the build said before what a clone says", commit, { HEAD: "f".repeat(40) }, shown],
  ["a branch", undefined, { HEAD: "ref: refs/heads/main\n", "refs/heads/main": `${commit}\n` }, shown],
  ["a packed branch", "", { HEAD: "ref: refs/heads/main\n", "packed-refs": `# pack\n${commit} refs/heads/main\n` }, shown],
  ["a detached head", undefined, { HEAD: `${commit}\n` }, shown],
  ["no clone", undefined, {}, "unknown"],
  ["a build that said something else", "main\r\nX-Evil: 1", { HEAD: commit }, "unknown"],
  ["a branch without commits", undefined, { HEAD: "ref: refs/heads/main\n" }, "unknown"],
  ["a branch outside", undefined, { HEAD: "ref: refs/../../secret\n" }, "unknown"],
])("%s", async (_name, told, files, revision) => {
  clone(files);
  expect(await readRevision(root, told)).toBe(revision);
});
