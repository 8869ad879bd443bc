/** What a run of the KMS's bench says: medians of the rounds, each row beside the floor of its rounds, and each target met or not. */
import { median } from "./auth-report.ts";
import type { KmsMemory } from "./kms-memory.ts";
import { floorName, type KmsSeries, type KmsTurn, type Way, ways } from "./kms-rounds.ts";

export interface KmsMeasured {
  readonly series: readonly KmsSeries[];
  readonly memory: KmsMemory | undefined;
  /** One a start. */
  readonly readyMs: readonly number[];
}

export interface KmsTarget {
  readonly name: string;
  readonly wanted: string;
  readonly came: number;
  readonly isMet: boolean;
}

export interface KmsRow extends Record<keyof KmsTurn, number> {
  readonly way: Way;
  readonly name: string;
  /** Processor time beside the floor's of the same round. */
  readonly cpuToFloor: number;
}

export interface KmsReport extends KmsMeasured {
  readonly machine: string;
  readonly rows: readonly KmsRow[];
  readonly targets: readonly KmsTarget[];
}

export function kmsReportOf(measured: KmsMeasured, machine: string): KmsReport {
  const rows = measured.series.map((series) => rowOf(series, measured.series));
  const { memory, series, readyMs } = measured;
  return { machine, rows, targets: targetsOf(measured, rows), memory, series, readyMs };
}

function rowOf({ way, name, turns }: KmsSeries, all: readonly KmsSeries[]): KmsRow {
  const of = (figure: keyof KmsTurn) => median(turns.map((turn) => turn[figure]));
  const cpuToFloor = median(compared(turns, all, way, (own, floor) => own / floor));
  return {
    way,
    name,
    perSecond: of("perSecond"),
    p50Ms: of("p50Ms"),
    p99Ms: of("p99Ms"),
    cpuMicroseconds: of("cpuMicroseconds"),
    cpuToFloor,
  };
}

/** Within a round, where both turns saw the same machine. */
function compared(
  turns: readonly KmsTurn[],
  all: readonly KmsSeries[],
  way: Way,
  compare: (own: number, floor: number) => number,
): number[] {
  const floor = all.find((each) => each.way === way && each.name === floorName)?.turns ?? [];
  return turns.map((turn, round) => compare(turn.cpuMicroseconds, floor[round]?.cpuMicroseconds ?? Number.NaN));
}

function targetsOf({ series, memory, readyMs }: KmsMeasured, rows: readonly KmsRow[]): KmsTarget[] {
  const atMost = (name: string, limit: number, came: number): KmsTarget => ({
    name,
    wanted: `at most ${limit}`,
    came,
    isMet: came <= limit,
  });
  const find = (way: Way, name: string) => rows.find((row) => row.way === way && row.name === name);
  const keptTurns = series.find((each) => each.way === ways[0] && each.name === "GetAppKey")?.turns ?? [];
  const added = median(compared(keptTurns, series, ways[0], (own, floor) => own - floor)) / 1000;
  return [
    atMost(
      "CPU to the bare handshake's, GetAppKey with a known certificate",
      2,
      find(ways[1], "GetAppKey")?.cpuToFloor ?? Number.NaN,
    ),
    atMost(
      "CPU to the bare handshake's, GetAppKey with a new certificate",
      3,
      find(ways[2], "GetAppKey")?.cpuToFloor ?? Number.NaN,
    ),
    atMost("ms CPU that GetAppKey adds on a kept connection", 1.5, added),
    atMost("ms to the answer of GetMeta, p50", 3, find(ways[0], "GetMeta")?.p50Ms ?? Number.NaN),
    ...(readyMs.length > 0 ? [atMost("ms from start to ready", 1000, median(readyMs))] : []),
    ...(memory ? memoryTargets(memory, atMost) : []),
  ];
}

function memoryTargets({ releases, residentMiB }: KmsMemory, atMost: (name: string, limit: number, came: number) => KmsTarget) {
  const half = residentMiB.length / 2;
  const growth = Math.max(...residentMiB.slice(half)) / Math.max(...residentMiB.slice(0, half));
  return [
    atMost(`MiB resident after ${releases} releases`, 200, residentMiB.at(-1) ?? Number.NaN),
    atMost("MiB resident at the end to the half", 1.05, growth),
  ];
}

export function kmsTextOf({ machine, rows, targets, memory, readyMs }: KmsReport): string {
  const lines = [machine];
  for (const way of ways) {
    lines.push("", columns([way, "a second", "p50 ms", "p99 ms", "CPU µs each", "to the floor"]));
    for (const row of rows.filter((each) => each.way === way)) {
      const figures = [row.perSecond.toFixed(0), row.p50Ms.toFixed(2), row.p99Ms.toFixed(2), row.cpuMicroseconds.toFixed(0)];
      lines.push(columns([`  ${row.name}`, ...figures, row.cpuToFloor.toFixed(2)]));
    }
  }
  if (readyMs.length > 0) lines.push("", `start to ready, ms: ${readyMs.map((value) => value.toFixed(0)).join(" ")}`);
  if (memory) {
    const resident = memory.residentMiB.map((value) => value.toFixed(0)).join(" ");
    lines.push("", `resident MiB after each tenth of ${memory.releases} releases: ${resident}`);
  }
  return [...lines, "", ...targets.map(targetLine)].join("\n");
}

function columns([name = "", ...figures]: readonly string[]): string {
  return name.padEnd(36) + figures.map((figure) => figure.padStart(13)).join("");
}

function targetLine({ name, wanted, came, isMet }: KmsTarget): string {
  return `${isMet ? "met    " : "not met"}  ${name}: ${came >= 100 ? came.toFixed(0) : came.toFixed(2)}, ${wanted} wanted`;
}
