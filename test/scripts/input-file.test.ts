/** Files that operators name: whole or refused, whatever they turn out to be. */
import { execFileSync } from "node:child_process";
import { createWriteStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readInput, readInputText } from "../../scripts/lib/input-file.ts";

const folder = mkdtempSync(join(tmpdir(), "keyward-input-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, "ten.bin");
writeFileSync(file, new Uint8Array(10).fill(0xff));
const refused = (message: string) =>
  expect.objectContaining({ code: "malformed.file", message: expect.stringContaining(message) });

test("are read up to the limit and not past it", async () => {
  expect(await readInput(file, 10)).toEqual(new Uint8Array(10).fill(0xff));
  await expect(readInput(file, 9)).rejects.toThrow(refused(`${file}: need at most 9 bytes`));
  await expect(readInput("/dev/zero", 1000)).rejects.toThrow(refused("need at most 1000 bytes"));
});

test("may be pipes", async () => {
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  const content = readInputText(pipe, 100);
  createWriteStream(pipe).end("from a pipe");
  expect(await content).toBe("from a pipe");
});

test("that are missing, folders, or no text are refused by name", async () => {
  await expect(readInput(join(folder, "none"), 10)).rejects.toThrow(refused("none: cannot be read"));
  await expect(readInput(folder, 10)).rejects.toThrow(refused("cannot be read"));
  await expect(readInputText(file, 10)).rejects.toThrow(refused("not UTF-8"));
});
