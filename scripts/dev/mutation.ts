/** Mutation testing of the verifier: breaks one thing at a time in a copy of kms/attestation and counts what no test notices. */
import { spawn } from "node:child_process";
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { parseArgs } from "node:util";

/** Everything here is ignored by git; a sandbox below node_modules would not be transformed by vite. */
const FOLDER = "cache/mutation";
const RESULTS = "node_modules/.cache/mutation";
const REPORT = `${FOLDER}/report.json`;
const MINIMUM = 90;
const SHOWN = 60;

const attestation = "kms/attestation";
/** Fetching, disk and child processes are tested by running them, which is too slow to be done for each mutant. */
const shells = [
  ...["tdx/collateral-*", "tdx/pccs", "image/archive*", "image/cache*", "image/acpi-program", "tdx/intel-root"].map(
    (name) => `${attestation}/${name}.ts`,
  ),
];

interface Part {
  readonly files: string;
  /** Which tests a mutant of these files is put before: in test/kms, without what is slow and says nothing of these files. */
  readonly tests: readonly string[];
}

const parts: Readonly<Record<string, Part>> = {
  tdx: {
    files: `${attestation}/tdx/*.ts`,
    tests: ["tdx-*", "opened-collateral", "collateral-signer", "evidence-corpus", "evidence-memory-dates"],
  },
  events: {
    files: `${attestation}/*.ts`,
    tests: [
      ...["evidence*", "event*", "envelope-sample", "boot-info", "appraise", "report-data", "standing", "verifier"],
      ...["ccel*", "compose*", "key-provider*", "json-tree*", "msgpack", "scale"],
    ],
  },
  image: {
    files: `${attestation}/image/*.ts`,
    tests: ["image*", "os-image", "appraise"],
  },
};
const notForMutants = [
  "tdx-collateral*",
  "evidence-corpus-generated",
  "evidence-differential",
  "*-command",
  "*-process",
  "*-store",
  "*-docs",
];

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

const inTests = (names: readonly string[]) => globSync(names.map((name) => `test/kms/${name}.test.ts`));

function filesOf({ files }: Part, wanted: readonly string[] | undefined): string[] {
  const left = new Set(globSync(shells));
  const all = globSync(files).filter((file) => !left.has(file));
  return all.filter((file) => wanted === undefined || wanted.includes(file)).toSorted();
}

/** What runs once when a module is loaded needs a fresh start for each mutant, so the rest comes first, with only the tests that reach it. */
type Round = "running" | "loading";

function settings(name: string, files: readonly string[], round: Round) {
  return {
    mutate: files,
    testRunner: "vitest",
    plugins: ["@stryker-mutator/vitest-runner", `${process.cwd()}/scripts/dev/mutation-words.ts`],
    vitest: { configFile: "vitest.mutation.config.ts", related: false },
    ignorers: ["words"],
    coverageAnalysis: "perTest",
    concurrency: 2,
    incremental: true,
    incrementalFile: incrementalOf(name),
    force: values.force && round === "running",
    ignoreStatic: round === "running",
    tempDirName: FOLDER,
    cleanTempDir: "always",
    ignorePatterns: ["/*", "!/kms", "!/scripts", "!/test", "/test/contracts", "!/package.json", "!/vitest.mutation.config.ts"],
    tsconfigFile: "none", // Stryker would load a TypeScript compiler of older times to copy it
    reporters: ["progress-append-only", "json"],
    jsonReporter: { fileName: REPORT },
    timeoutMS: 30_000,
    warnings: { slow: false },
    allowConsoleColors: false,
  };
}

/**
 * Stryker's own words go to stderr, ours to stdout. Vitest is told which tests there are, and Stryker is not: it would take the
 * list for a choice of tests, and turn a mutant on only after the modules are loaded.
 */
function runStryker(config: string, { tests }: Part): Promise<number> {
  const left = new Set(inTests(notForMutants));
  const testFiles = inTests(tests).filter((file) => !left.has(file));
  const env = { ...process.env, MUTATION_TESTS: testFiles.join(",") };
  const child = spawn("stryker", ["run", config], { stdio: ["ignore", 2, 2], env });
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

function incrementalOf(part: string): string {
  return `${RESULTS}/${part}.json`;
}

function readReport(file: string): Report {
  return JSON.parse(readFileSync(file, "utf8"));
}

/** A mutant that runs when a module is loaded, and later too, was only looked at later: having survived that says nothing yet. */
function reopenLoaded(file: string): void {
  const report = readReport(file);
  const reopened = (mutant: Mutant) =>
    mutant.static && mutant.status === "Survived" ? { ...mutant, status: "Ignored" } : mutant;
  const files = Object.entries(report.files).map(([name, found]) => [name, { ...found, mutants: found.mutants.map(reopened) }]);
  writeFileSync(file, JSON.stringify({ ...report, files: Object.fromEntries(files) }));
}

/** Undefined when Stryker ended early. */
async function judgePart(name: string, part: Part, files: readonly string[]): Promise<Score[] | undefined> {
  if (!values.report) {
    const rounds: readonly Round[] = values.fast ? ["running"] : ["running", "loading"];
    for (const round of rounds) {
      const config = `${FOLDER}/${name}-${round}.json`;
      writeFileSync(config, JSON.stringify(settings(name, files, round)));
      if (round === "loading") reopenLoaded(incrementalOf(name));
      if ((await runStryker(config, part)) !== 0) return undefined;
    }
  }
  const source = values.report ? incrementalOf(name) : REPORT;
  if (!existsSync(source)) return undefined;
  const report = readReport(source);
  return files.map((file) => scoreOf(file, report));
}

async function main(): Promise<number> {
  const chosen = Object.entries(parts).filter(([name]) => values.part === "all" || values.part === name);
  const scores: Score[] = [];
  for (const [name, part] of chosen) {
    const files = filesOf(part, values.file);
    if (files.length === 0) continue;
    const found = await judgePart(name, part, files);
    if (found === undefined) {
      console.error(`error: the mutation run of ${name} ended early, see above`);
      return 1;
    }
    scores.push(...found);
  }
  if (scores.length > 0) return print(scores, values.json) >= MINIMUM ? 0 : 1;
  console.error("error: no such part or file: need --part tdx, events, image or all, and files of kms/attestation");
  return 2;
}

const { values } = parseArgs({
  options: {
    part: { type: "string", default: "all" },
    file: { type: "string", multiple: true },
    json: { type: "boolean", default: false },
    force: { type: "boolean", default: false },
    report: { type: "boolean", default: false },
    fast: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (values.help) {
  console.log("usage: ./run mutation [--part tdx|events|image|all] [--file FILE…] [--fast] [--force] [--report] [--json]");
  console.log("  --fast    leave out what only runs when a module is loaded");
  console.log("  --force   forget earlier results     --report  print the last results of these files again");
} else {
  mkdirSync(FOLDER, { recursive: true });
  mkdirSync(RESULTS, { recursive: true });
  setPriority(10); // minutes of both cores: others first
  process.exitCode = await main();
}
