/** The command runs from end to end, and its floors hold the signatures they should. No figure is asserted. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { readSample, runFloor } from "../../bench/tdx-sample.ts";

const bench = fileURLToPath(new URL("../../bench/bench.ts", import.meta.url));
const run = (...args: string[]) => promisify(execFile)(process.execPath, [bench, "tdx", ...args]);
const runMs = 60_000;

test("measures every row and prints one JSON document", { timeout: runMs }, async () => {
  const { stdout } = await run("--json", "--rounds", "2", "--turn", "2");
  const report = JSON.parse(stdout);
  expect(report).toMatchObject({
    ok: true,
    checks: { warm: 2, machine: 3, cold: 9 },
    rows: { length: 8 },
    growth: { length: 8 },
  });
  expect(report.targets).toHaveLength(5 + report.growth.length);
  for (const { median, least } of report.rows) expect(median).toBeGreaterThanOrEqual(least);
});

test("prints a table with a line for each target", { timeout: runMs }, async () => {
  const { stdout } = await run("--rounds", "1", "--turn", "1");
  expect(stdout.match(/^(met {4}|not met) {2}/gm)).toHaveLength(13);
});

test("a floor is made of signatures that hold", () => {
  const { floors } = readSample();
  expect(() => runFloor(floors.cold)).not.toThrow();
  expect(() => runFloor(floors.warm.map((check) => ({ ...check, data: new Uint8Array(1) })))).toThrow(/does not hold/);
});
