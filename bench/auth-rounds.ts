/** Rounds in which every contender has its turn, so that what disturbs the machine disturbs them all alike. */
import { type ContenderName, startContest } from "./auth-contenders.ts";
import type { LoadResult } from "./children/load.ts";
import { cpuMicroseconds, type LoadGenerator, startLoad } from "./processes.ts";

export interface RoundSettings {
  readonly latenciesMs: readonly number[];
  readonly connections: readonly number[];
  readonly seconds: number;
  readonly rounds: number;
  /** At most, before the first round. */
  readonly warmUpSeconds: number;
}

export type Turn = Omit<LoadResult, "wrong"> & {
  /** Of the answering process alone. */
  readonly cpuMicroseconds: number | undefined;
};

export interface Series {
  readonly latencyMs: number;
  readonly connections: number;
  readonly contender: ContenderName;
  /** One a round, in order: turns of one round are compared with each other. */
  readonly turns: readonly Turn[];
}

/** Those that a target compares run one after the other: the less time between two turns, the less the machine changes between them. */
const turnOrder: readonly ContenderName[] = [
  "Hono, a constant",
  "three trips, ours",
  "bare eth_call",
  "webhook",
  "three trips, viem",
];

/** What the compiler has not yet seen often costs several times as much; a service runs for long. */
const warmUp = { connections: 32, requests: 10_000 };

export async function runRounds(settings: RoundSettings, note: (sentence: string) => void): Promise<Series[]> {
  const load = await startLoad();
  try {
    const all: Series[] = [];
    for (const latencyMs of settings.latenciesMs) all.push(...(await runContest(settings, latencyMs, load, note)));
    return all;
  } finally {
    await load.close();
  }
}

async function runContest(settings: RoundSettings, latencyMs: number, load: LoadGenerator, note: (sentence: string) => void) {
  const { contenders, close } = await startContest(latencyMs);
  try {
    note(`RPC latency ${latencyMs} ms: warming up`);
    for (const { order } of contenders) await load.run({ ...order, ...warmUp, seconds: settings.warmUpSeconds });
    const series = settings.connections.flatMap((connections) =>
      contenders.map((each) => ({ ...each, latencyMs, connections, contender: each.name, turns: [] as Turn[] })),
    );
    const turns = series.toSorted(
      (a, b) => a.connections - b.connections || turnOrder.indexOf(a.contender) - turnOrder.indexOf(b.contender),
    );
    for (let round = 1; round <= settings.rounds; round++) {
      note(`RPC latency ${latencyMs} ms: round ${round} of ${settings.rounds}`);
      for (const { order, pid, connections, turns: own } of turns) {
        const before = await cpuMicroseconds(pid);
        const result = await load.run({ ...order, connections, seconds: settings.seconds });
        const after = await cpuMicroseconds(pid);
        const used = before === undefined || after === undefined ? undefined : (after - before) / result.requests;
        const { requests, perSecond, p50Ms, p99Ms } = result;
        own.push({ requests, perSecond, p50Ms, p99Ms, cpuMicroseconds: used });
      }
    }
    return series.map(({ contender, connections, turns }) => ({ latencyMs, connections, contender, turns }));
  } finally {
    await close();
  }
}
