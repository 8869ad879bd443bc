/** What a run of the webhook's bench says: medians of the rounds, ratios within a round, and each target met or not. */
import type { ContenderName } from "./auth-contenders.ts";
import type { MemoryResult } from "./auth-memory.ts";
import type { RevocationResult } from "./auth-revocation.ts";
import type { Series, Turn } from "./auth-rounds.ts";

export interface Measured {
  readonly series: readonly Series[];
  readonly memory: MemoryResult | undefined;
  readonly revocation: RevocationResult | undefined;
}

export interface Target {
  readonly name: string;
  readonly wanted: string;
  /** Of a ratio: the median of its rounds. */
  readonly came: number;
  /** Of a ratio: what each round said, in order. */
  readonly rounds?: readonly number[];
  readonly isMet: boolean;
}

export interface Report {
  readonly machine: string;
  readonly rows: readonly Row[];
  readonly targets: readonly Target[];
  readonly memory: MemoryResult | undefined;
  readonly revocation: RevocationResult | undefined;
}

type Row = Pick<Series, "latencyMs" | "connections" | "contender"> &
  Record<"perSecond" | "p50Ms" | "p99Ms" | "cpuMicroseconds", number>;
type Figure = (turn: Turn) => number;

const perSecond: Figure = (turn) => turn.perSecond;
const p50: Figure = (turn) => turn.p50Ms;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function reportOf({ series, memory, revocation }: Measured, machine: string): Report {
  const rows = series.map(({ latencyMs, connections, contender, turns }) => {
    const of = (figure: Figure) => median(turns.map(figure));
    const cpu = of((turn) => turn.cpuMicroseconds ?? Number.NaN);
    return {
      latencyMs,
      connections,
      contender,
      perSecond: of(perSecond),
      p50Ms: of(p50),
      p99Ms: of((turn) => turn.p99Ms),
      cpuMicroseconds: cpu,
    };
  });
  return { machine, rows, targets: targetsOf(series, memory), memory, revocation };
}

/** What each round says: a disturbance that lasts a round changes both of its turns, so the medians of the turns may say otherwise. */
export function ratios(
  series: readonly Series[],
  place: { latencyMs: number; connections: number },
  figure: Figure,
  of: ContenderName,
  to: ContenderName,
): number[] {
  const turns = (name: ContenderName) =>
    series.find((each) => each.latencyMs === place.latencyMs && each.connections === place.connections && each.contender === name)
      ?.turns ?? [];
  const [upper, lower] = [turns(of).map(figure), turns(to).map(figure)];
  return upper.map((value, round) => value / (lower[round] ?? Number.NaN));
}

function targetsOf(series: readonly Series[], memory: MemoryResult | undefined): Target[] {
  const places = new Set(series.map(({ latencyMs, connections }) => `${latencyMs} ms, ${connections}`));
  const busy = { latencyMs: 0, connections: 32 };
  const targets: Target[] = [];
  const atMost = (name: string, limit: number, ...rounds: readonly number[]) =>
    targets.push({ name, wanted: `at most ${limit}`, ...middleOf(rounds), isMet: median(rounds) <= limit });
  const atLeast = (name: string, limit: number, ...rounds: readonly number[]) =>
    targets.push({ name, wanted: `at least ${limit}`, ...middleOf(rounds), isMet: median(rounds) >= limit });
  for (const connections of [1, 32]) {
    if (!places.has(`30 ms, ${connections}`)) continue;
    const place = { latencyMs: 30, connections };
    atMost(
      `p50 to the bare call's, 30 ms, ${connectionsText(connections)}`,
      1.25,
      ...ratios(series, place, p50, "webhook", "bare eth_call"),
    );
  }
  if (places.has("0 ms, 32")) {
    const webhook = series.find((each) => each.latencyMs === 0 && each.connections === 32 && each.contender === "webhook");
    atLeast(
      "decisions to bare calls, 0 ms, 32 connections",
      0.15,
      ...ratios(series, busy, perSecond, "webhook", "bare eth_call"),
    );
    atLeast(
      "decisions to those of three trips with viem, 0 ms, 32 connections",
      3,
      ...ratios(series, busy, perSecond, "webhook", "three trips, viem"),
    );
    atLeast("decisions a second on a quiet machine, 0 ms, 32 connections", 2000, median((webhook?.turns ?? []).map(perSecond)));
  }
  if (memory !== undefined) {
    atMost(`MiB resident after ${memory.requests} requests`, 150, memory.residentMiB.at(-1) ?? Number.NaN);
    atMost("MiB resident at the end to the half", 1.05, growth(memory));
  }
  return targets;
}

function middleOf(rounds: readonly number[]): Pick<Target, "came" | "rounds"> {
  return { came: median(rounds), ...(rounds.length > 1 && { rounds }) };
}

/** The first half may still fill the heap that the flags allow; what rises after it would rise for ever. */
function growth({ residentMiB }: MemoryResult): number {
  const half = residentMiB.length / 2;
  return Math.max(...residentMiB.slice(half)) / Math.max(...residentMiB.slice(0, half));
}

export function textOf(report: Report): string {
  const { memory, revocation } = report;
  const lines = [report.machine];
  const places = new Map(report.rows.map((row) => [`${row.latencyMs} ${row.connections}`, row]));
  for (const { latencyMs, connections } of places.values()) {
    const title = `RPC latency ${latencyMs} ms, ${connectionsText(connections)}`;
    lines.push("", columns([title, "a second", "p50 ms", "p99 ms", "CPU µs each"]));
    for (const row of report.rows.filter((each) => each.latencyMs === latencyMs && each.connections === connections))
      lines.push(
        columns([
          `  ${row.contender}`,
          row.perSecond.toFixed(0),
          row.p50Ms.toFixed(2),
          row.p99Ms.toFixed(2),
          row.cpuMicroseconds.toFixed(0),
        ]),
      );
  }
  if (memory)
    lines.push(
      "",
      `resident MiB after each tenth of ${memory.requests} requests: ${memory.residentMiB.map((value) => value.toFixed(0)).join(" ")}`,
    );
  if (revocation) lines.push("", ...revocationLines(revocation));
  lines.push("", ...report.targets.map(targetLine));
  return lines.join("\n");
}

function connectionsText(connections: number): string {
  return connections === 1 ? "1 connection" : `${connections} connections`;
}

function columns([name = "", ...figures]: readonly string[]): string {
  return name.padEnd(36) + figures.map((figure) => figure.padStart(13)).join("");
}

function targetLine({ name, wanted, came, rounds, isMet }: Target): string {
  const each = rounds === undefined ? "" : ` (its rounds: ${rounds.map((value) => value.toFixed(2)).join(" ")})`;
  return `${isMet ? "met    " : "not met"}  ${name}: ${came >= 100 ? came.toFixed(0) : came.toFixed(2)}${each}, ${wanted} wanted`;
}

function revocationLines({ blockMs, rounds }: RevocationResult): string[] {
  const delays = rounds.map(({ headToRefusalMs }) => headToRefusalMs);
  const [decisions, allowed] = [rounds.map((round) => round.decisions), rounds.map((round) => round.allowed)].map((values) =>
    values.reduce((sum, value) => sum + value, 0),
  );
  return [
    `revocation: ${rounds.length} rounds, a block each ${blockMs} ms`,
    `  head to first refusal: median ${median(delays).toFixed(1)} ms, longest ${Math.max(...delays).toFixed(1)} ms`,
    `  decisions started after the head: ${decisions}, of which allowed: ${allowed}`,
  ];
}
