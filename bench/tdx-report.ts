/** What a run of the verifier's bench says: each row's median and its best round, and each target met or not. */
import { median } from "./auth-report.ts";
import type { Growth } from "./tdx-growth.ts";
import type { TdxRow, TdxSeries } from "./tdx-rounds.ts";
import type { Floors } from "./tdx-sample.ts";

export interface TdxMeasured {
  readonly series: readonly TdxSeries[];
  readonly growth: readonly Growth[];
  readonly floors: Floors;
}

export interface TdxTarget {
  readonly name: string;
  readonly wanted: string;
  readonly came: number;
  readonly isMet: boolean;
}

interface TdxRowFigures {
  readonly name: TdxRow;
  /** Microseconds of processor time for one. */
  readonly median: number;
  /** Of the round that was disturbed least: other work on the machine takes caches away and so only ever adds. */
  readonly least: number;
}

export interface TdxReport {
  readonly machine: string;
  /** Signature checks in each floor. */
  readonly checks: Readonly<Record<keyof Floors, number>>;
  readonly rows: readonly TdxRowFigures[];
  readonly targets: readonly TdxTarget[];
  readonly series: readonly TdxSeries[];
  readonly growth: readonly Growth[];
}

export function tdxReportOf({ series, growth, floors }: TdxMeasured, machine: string): TdxReport {
  const rows = series.map(({ name, turns }) => ({ name, median: median(turns), least: Math.min(...turns) }));
  const checks = { warm: floors.warm.length, machine: floors.machine.length, cold: floors.cold.length };
  return { machine, checks, rows, targets: targetsOf(rows, growth), series, growth };
}

function targetsOf(rows: readonly TdxRowFigures[], growth: readonly Growth[]): TdxTarget[] {
  const leastOf = (name: TdxRow) => rows.find((row) => row.name === name)?.least ?? Number.NaN;
  const ratio = (upper: TdxRow, lower: TdxRow) => leastOf(upper) / leastOf(lower);
  const atMost = (name: string, limit: number, came: number) => ({
    name,
    wanted: `at most ${limit}`,
    came,
    isMet: came <= limit,
  });
  const atLeast = (name: string, limit: number, came: number) => ({
    name,
    wanted: `at least ${limit}`,
    came,
    isMet: came >= limit,
  });
  return [
    atMost("warm to its floor", 1.6, ratio("warm, ours", "warm, floor")),
    atMost("warm to its floor, a machine that was never seen", 1.6, ratio("new machine, ours", "new machine, floor")),
    atMost("cold to its floor", 2, ratio("cold, ours", "cold, floor")),
    atLeast("quotes to those of dcap-qvl-web, warm", 8, ratio("dcap-qvl-web", "warm, ours")),
    atMost("ms for the envelope and the replay of RTMR3", 0.3, leastOf("envelope and RTMR3") / 1000),
    ...growth.map(({ name, exponent }) => atMost(`growth, ${name}`, 1.25, exponent)),
  ];
}

export function tdxTextOf({ machine, checks, rows, targets, growth }: TdxReport): string {
  const lines = [machine, "", columns(["a quote of 5,006 bytes, CPU µs", "median", "least"])];
  for (const row of rows) lines.push(columns([`  ${row.name}`, row.median.toFixed(1), row.least.toFixed(1)]));
  lines.push("", `signatures in a floor: warm ${checks.warm}, new machine ${checks.machine}, cold ${checks.cold}`, "");
  lines.push(columns(["before the first signature", "size: CPU µs"]));
  for (const { name, unit, steps } of growth) {
    const figures = steps.map(({ size, microseconds }) => `${size}: ${microseconds.toFixed(0)}`);
    lines.push(columns([`  ${name}`, ...figures, unit]));
  }
  return [...lines, "", ...targets.map(targetLine)].join("\n");
}

function columns([name = "", ...figures]: readonly string[]): string {
  return name.padEnd(46) + figures.map((figure) => figure.padStart(14)).join("");
}

function targetLine({ name, wanted, came, isMet }: TdxTarget): string {
  return `${isMet ? "met    " : "not met"}  ${name}: ${came.toFixed(2)}, ${wanted} wanted`;
}
