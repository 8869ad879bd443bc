/** Everything that can be said about the code without running it: types, lint with layers and sizes, Solidity style, generated files, lock. */
import { readFileSync } from "node:fs";
import { runStep, type Step, type StepResult } from "./run-steps.ts";

const steps: readonly Step[] = [
  { name: "contracts compile", command: ["hardhat", "build", "--quiet"] },
  { name: "upgrade safety", command: ["node", "scripts/dev/validate.ts"] },
  { name: "types", command: ["tsc", "--noEmit", "-p", "."] },
  { name: "format, lint, layers", command: ["biome", "ci", "--colors=off", "--max-diagnostics=100", "--error-on-warnings", "."] },
  { name: "solidity format", command: ["prettier", "--check", "contracts/**/*.sol"] },
  { name: "solidity lint", command: ["solhint", "--max-warnings", "0", "contracts/**/*.sol"] },
  { name: "generated protocol code is current", command: ["node", "scripts/dev/generated.ts"] },
];

/** npm leaves platform packages out of a lock without a word when it runs under another Node; the next `npm ci` elsewhere then fails. */
function lockIsComplete(file: string): StepResult {
  const lock: { packages: Record<string, { optionalDependencies?: Record<string, string> }> } = JSON.parse(
    readFileSync(file, "utf8"),
  );
  const known = new Set(Object.keys(lock.packages).map((path) => path.split("node_modules/").at(-1)));
  const missing = Object.values(lock.packages).flatMap((entry) =>
    Object.keys(entry.optionalDependencies ?? {}).filter((name) => !known.has(name)),
  );
  const ok = missing.length === 0;
  process.stderr.write(`${ok ? "✓" : "✗"} ${file} is complete${ok ? "" : `: no entry for ${missing.join(", ")}`}\n`);
  return { name: file, ok, output: "" };
}

const results = [
  lockIsComplete("package-lock.json"),
  lockIsComplete("tools/node/package-lock.json"),
  lockIsComplete("tools/dstack-sdk/package-lock.json"),
];
for (const step of steps) results.push(await runStep(step));
const failed = results.filter((result) => !result.ok).length;
console.log(`check: ${results.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
