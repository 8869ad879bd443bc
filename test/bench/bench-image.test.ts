/** The command runs from end to end on an image of full size. No figure is asserted. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const bench = fileURLToPath(new URL("../../bench/bench.ts", import.meta.url));

test("measures every row and prints one JSON document", { timeout: 60_000 }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [bench, "image", "--rounds", "1", "--json"]);
  const report = JSON.parse(stdout);
  expect(report).toMatchObject({ ok: true, rows: { length: 4 }, targets: { length: 2 } });
  for (const { milliseconds } of report.rows) expect(milliseconds).toBeGreaterThan(0);
});
