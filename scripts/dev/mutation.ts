/** Mutation testing of the verifier: breaks one thing at a time in a copy of kms/attestation and counts what no test notices. */
import { spawn } from "node:child_process";
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { parseArgs } from "node:util";

/** Everything here is ignored by git; a sandbox below node_modules would not be transformed by vite. */
const FOLDER = "cache/mutation";
const INCREMENTAL = "node_modules/.cache/mutation/incremental.json";
const REPORT = `${FOLDER}/report.json`;
const MINIMUM = 90;
const SHOWN = 60;

const attestation = "kms/attestation";
/** Fetching, disk and child processes are tested by running them, which is too slow to be done for each mutant. */
const shells = ["collateral-*", "pccs", "image/archive*", "image/cache*", "image/acpi-program", "intel-root"];
const parts = {
  tdx: [`${attestation}/tdx/*.ts`],
  events: [`${attestation}/*.ts`],
  image: [`${attestation}/image/*.ts`],
};

interface Mutant {
  readonly mutatorName: string;
  readonly replacement?: string;
  readonly status: string;
  readonly static?: boolean;
  readonly location: { readonly start: { readonly line: number; readonly column: number } };
}

interface Report {
  readonly files: Readonly<Record<string, { readonly source: string; readonly mutants: readonly Mutant[] }>>;
}

interface Score {
  readonly file: string;
  readonly killed: number;
  readonly alive: readonly string[];
  readonly excused: number;
}

function isPart(name: string): name is keyof typeof parts {
  return Object.hasOwn(parts, name);
}

function filesOf(part: string): string[] {
  if (part !== "all" && !isPart(part)) throw new Error(`--part: need tdx, events, image or all, have ${part}`);
  const patterns = part === "all" ? Object.values(parts).flat() : parts[part];
  const left = new Set(globSync(shells.flatMap((shell) => [`${attestation}/${shell}.ts`, `${attestation}/tdx/${shell}.ts`])));
  return globSync(patterns)
    .filter((file) => !left.has(file))
    .toSorted();
}

function settings(files: readonly string[], force: boolean) {
  return {
    mutate: files,
    testRunner: "vitest",
    plugins: ["@stryker-mutator/vitest-runner", `${process.cwd()}/scripts/dev/mutation-words.ts`],
    vitest: { configFile: "vitest.mutation.config.ts", related: false },
    ignorers: ["words"],
    coverageAnalysis: "perTest",
    concurrency: 2,
    incremental: true,
    incrementalFile: INCREMENTAL,
    force,
    tempDirName: FOLDER,
    cleanTempDir: "always",
    ignorePatterns: ["/*", "!/kms", "!/scripts", "!/test", "/test/contracts", "!/package.json", "!/vitest.mutation.config.ts"],
    tsconfigFile: "none", // Stryker would load a TypeScript compiler of older times to copy it
    reporters: ["progress-append-only", "json"],
    jsonReporter: { fileName: REPORT },
    timeoutMS: 10_000,
    allowConsoleColors: false,
  };
}

/** Stryker's own words go to stderr, ours to stdout. */
function runStryker(config: string): Promise<number> {
  const child = spawn("stryker", ["run", config], { stdio: ["ignore", 2, 2] });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve(status ?? 1));
  });
}

function scoreOf(file: string, report: Report): Score {
  const { mutants, source } = report.files[file] ?? { mutants: [], source: "" };
  const lines = source.split("\n");
  const killed = mutants.filter(({ status }) => status === "Killed" || status === "Timeout").length;
  const alive = mutants.filter(({ status }) => status === "Survived" || status === "NoCoverage");
  const excused = mutants.filter(({ status }) => status === "Ignored").length;
  return { file, killed, excused, alive: alive.map((mutant) => describe(file, mutant, lines)) };
}

function describe(file: string, { location: { start }, mutatorName, replacement, status }: Mutant, lines: readonly string[]) {
  const change = (replacement ?? mutatorName).replaceAll(/\s+/g, " ").slice(0, SHOWN);
  const line = (lines[start.line - 1] ?? "").trim().slice(0, SHOWN);
  return `${file}:${start.line}:${start.column} ${status === "NoCoverage" ? "no test" : "alive"}: ${line} → ${change}`;
}

function percent(killed: number, alive: number): number {
  return killed + alive === 0 ? 100 : (100 * killed) / (killed + alive);
}

function print(scores: readonly Score[], json: boolean): number {
  const killed = scores.reduce((sum, score) => sum + score.killed, 0);
  const alive = scores.reduce((sum, score) => sum + score.alive.length, 0);
  const total = percent(killed, alive);
  if (json) {
    const files = scores.map((score) => ({ ...score, score: percent(score.killed, score.alive.length) }));
    console.log(JSON.stringify({ ok: total >= MINIMUM, score: total, killed, alive, files }));
    return total;
  }
  for (const score of scores) for (const line of score.alive) console.log(line);
  for (const score of scores) {
    const value = percent(score.killed, score.alive.length).toFixed(1);
    console.log(
      `${value.padStart(5)} %  ${score.file}: ${score.killed} killed, ${score.alive.length} alive, ${score.excused} left out`,
    );
  }
  console.log(`mutation: ${total.toFixed(1)} % of ${killed + alive} mutants killed, need ${MINIMUM} %`);
  return total;
}

const { values } = parseArgs({
  options: {
    part: { type: "string", default: "all" },
    file: { type: "string", multiple: true },
    json: { type: "boolean", default: false },
    force: { type: "boolean", default: false },
    report: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (values.help) {
  console.log("usage: ./run mutation [--part tdx|events|image|all] [--file FILE…] [--force] [--report] [--json]");
  console.log("  --force   forget earlier results     --report  print the last results of these files again");
} else {
  const files = values.file ?? filesOf(values.part);
  mkdirSync(FOLDER, { recursive: true });
  mkdirSync("node_modules/.cache/mutation", { recursive: true });
  setPriority(10); // minutes of both cores: others first
  const config = `${FOLDER}/stryker.json`;
  writeFileSync(config, JSON.stringify(settings(files, values.force)));
  const status = values.report ? 0 : await runStryker(config);
  const source = values.report ? INCREMENTAL : REPORT;
  if (status !== 0 || !existsSync(source)) {
    console.error("error: the mutation run ended early, see above");
    process.exitCode = 1;
  } else {
    const report: Report = JSON.parse(readFileSync(source, "utf8"));
    const scores = files.map((file) => scoreOf(file, report));
    process.exitCode = print(scores, values.json) >= MINIMUM ? 0 : 1;
  }
}
