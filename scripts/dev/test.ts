/** Runs every test: Solidity fuzz tests, then vitest. With arguments, only vitest with these arguments. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runStep } from "./run-steps.ts";

interface Totals {
  passed: number;
  failed: number;
}

const args = process.argv.slice(2);
const work = mkdtempSync(join(tmpdir(), "keyward-test-"));
const report = join(work, "vitest.json");
const totals: Totals = { passed: 0, failed: 0 };

function add(passed: number, failed: number, ok: boolean): void {
  totals.passed += passed;
  // a runner that ends badly without a failed test (a compile error, a crash) still counts as a failure
  totals.failed += ok ? failed : Math.max(failed, 1);
}

async function solidity(): Promise<void> {
  const result = await runStep({ name: "solidity tests", command: ["hardhat", "test", "solidity"], live: true });
  const count = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(result.output)?.[1] ?? 0);
  add(count("passing"), count("failing"), result.ok);
}

async function vitest(): Promise<void> {
  const command = ["vitest", "run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`, ...args] as const;
  const result = await runStep({ name: "vitest", command, live: true });
  try {
    const { numPassedTests, numFailedTests }: { numPassedTests: number; numFailedTests: number } = JSON.parse(
      readFileSync(report, "utf8"),
    );
    add(numPassedTests, numFailedTests, result.ok);
  } catch {
    add(0, 1, false);
  }
}

try {
  if (args.length === 0) await solidity();
  await vitest();
} finally {
  rmSync(work, { recursive: true, force: true });
}
console.log(`tests: ${totals.passed} passed, ${totals.failed} failed`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;
