/** Every property that the deployed contracts' own tests and proofs assert has a test here that says so in the comment above it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const rows = { A: 15, K: 11, U: 9, E: 5, H: 16, "INV-": 7 };

function textOf(folder: string, ending: string): string {
  const names = readdirSync(join(root, folder)).filter((name) => name.endsWith(ending));
  return names.map((name) => readFileSync(join(root, folder, name), "utf8")).join("\n");
}

/** The ids of the comment right above a test. */
const claims = [
  ...textOf("test/contracts", ".test.ts").matchAll(/^ *\/\/ ((?:[AKUE]\d+ ?)+)(?::.*)?\n *test[.(]/gm),
  ...textOf("contracts/test", ".t.sol").matchAll(/^ *\/\/\/ ((?:(?:H\d+|INV-\d+)(?: and |, )?)+).*\n *function /gm),
].flatMap(([, ids = ""]) => ids.match(/[A-Z]+-?\d+/g) ?? []);

test.each(Object.entries(rows))("each of the rows %s1 to %i has a test", (prefix, count) => {
  const ids = Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);
  expect(ids.filter((id) => !claims.includes(id))).toEqual([]);
});
