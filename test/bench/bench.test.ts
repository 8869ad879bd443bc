/** The command runs from end to end: contenders, stub and load generator still understand each other. No figure is asserted. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const bench = fileURLToPath(new URL("../../bench/bench.ts", import.meta.url));
const run = (...args: string[]) => promisify(execFile)(process.execPath, [bench, ...args]);

/** A dozen processes and a chain start. */
const startMs = 180_000;

test("measures every contender and prints one JSON document", { timeout: startMs }, async () => {
  const short = [
    "--seconds",
    "0.1",
    "--rounds",
    "1",
    "--connections",
    "2",
    "--latency",
    "1",
    "--requests",
    "40",
    "--revocations",
    "1",
  ];
  const { stdout } = await run("auth", "--json", ...short);
  const report = JSON.parse(stdout);
  expect(report).toMatchObject({ ok: true, rows: { length: 5 }, memory: { requests: 40, residentMiB: { length: 10 } } });
  expect(report.revocation.rounds).toMatchObject([{ allowed: 0 }]);
});

test.each([
  [["auth", "--seconds", "0"], /need more than zero/],
  [["auth", "--connections", "1,x"], /need a number/],
  [["auth", "--rounds", "1.5"], /need a whole number/],
  [["speed"], /unknown command/],
])("refuses %o with exit 2", async (args, words) => {
  await expect(run(...args)).rejects.toMatchObject({ code: 2, stderr: expect.stringMatching(words) });
});
