/** Rounds in which the KMS and its floor take turns at every way to connect, so that what disturbs the machine disturbs them all alike. */
import { once } from "node:events";
import type { TlsLoadOrder, TlsLoadResult } from "./children/tls-load.ts";
import { callNames, constantText } from "./kms-calls.ts";
import type { World } from "./kms-world.ts";
import { cpuMicroseconds, startChild } from "./processes.ts";

export const ways = ["kept connection", "new connection, known certificate", "new connection, new certificate"] as const;
export type Way = (typeof ways)[number];
export const floorName = "bare TLS server, a constant";

export interface KmsRoundSettings {
  readonly rounds: number;
  /** In a turn on kept connections; new ones get a tenth. */
  readonly turnRequests: number;
  readonly connections: number;
  /** At most for each row, before the first round: what the compiler has not yet seen often costs several times as much. */
  readonly warmUpSeconds: number;
}

export type KmsTurn = Pick<TlsLoadResult, "perSecond" | "p50Ms" | "p99Ms"> & {
  /** Of the answering process alone, for one request. */
  readonly cpuMicroseconds: number;
};

export interface KmsSeries {
  readonly way: Way;
  readonly name: string;
  /** One a round, in order: turns of one round are compared with each other. */
  readonly turns: KmsTurn[];
}

export interface TlsLoad {
  run(order: TlsLoadOrder): Promise<TlsLoadResult>;
  close(): Promise<void>;
}

export async function startTlsLoad(): Promise<TlsLoad> {
  const { process: child, close } = await startChild("tls-load.ts");
  return {
    async run(order) {
      child.send(order);
      const [result] = (await once(child, "message")) as [TlsLoadResult];
      if (result.wrong === 0) return result;
      throw new Error(
        `${result.wrong} of ${result.requests} answers of ${order.path} were wrong: ${result.example.slice(0, 300)}`,
      );
    },
    close,
  };
}

const newConnections = (settings: KmsRoundSettings): number => Math.ceil(settings.turnRequests / 10);

const warmUpRequests = 5_000;
/** Verifying evidence must be compiled too, and needs certificates of its own. */
const warmUpCertificates = 500;

/** One for all who come again; and for the warm-up and every turn with new ones their own. */
export function certificatesNeeded(settings: KmsRoundSettings): number {
  return 1 + warmUpCertificates + settings.rounds * newConnections(settings);
}

interface Contender {
  readonly series: KmsSeries;
  readonly pid: number;
  readonly order: Pick<TlsLoadOrder, "url" | "path" | "body" | "expected">;
}

export async function runKmsRounds(
  world: World,
  load: TlsLoad,
  settings: KmsRoundSettings,
  note: (sentence: string) => void,
): Promise<KmsSeries[]> {
  const contenders = contendersOf(world);
  note("warming up");
  for (const each of contenders) await warmUp(each, world, load, settings);
  for (let round = 0; round < settings.rounds; round++) {
    note(`round ${round + 1} of ${settings.rounds}`);
    for (const each of contenders) each.series.turns.push(await takeTurn(each, world, load, settings, round));
  }
  return contenders.map(({ series }) => series);
}

function contendersOf({ kms, floor, calls }: World): Contender[] {
  const contender = (way: Way, name: string, running: { url: string; pid: number }, call: Omit<Contender["order"], "url">) => ({
    series: { way, name, turns: [] },
    pid: running.pid,
    order: { ...call, url: running.url },
  });
  const contenders: Contender[] = [];
  for (const way of ways) {
    const { GetAppKey } = calls;
    contenders.push(contender(way, floorName, floor, { ...GetAppKey, expected: constantText }));
    for (const name of way === "kept connection" ? callNames : (["GetAppKey"] as const)) {
      contenders.push(contender(way, name, kms, calls[name]));
    }
  }
  return contenders;
}

async function warmUp({ series, order }: Contender, { identities }: World, load: TlsLoad, settings: KmsRoundSettings) {
  const eachItsOwn = series.way === "new connection, new certificate";
  await load.run({
    ...order,
    identities,
    from: 1,
    eachItsOwn,
    kept: series.way === "kept connection",
    connections: 1,
    requests: eachItsOwn ? warmUpCertificates : warmUpRequests,
    seconds: settings.warmUpSeconds,
  });
}

async function takeTurn(
  { series, pid, order }: Contender,
  { identities }: World,
  load: TlsLoad,
  settings: KmsRoundSettings,
  round: number,
): Promise<KmsTurn> {
  const kept = series.way === "kept connection";
  const eachItsOwn = series.way === "new connection, new certificate";
  const requests = kept ? settings.turnRequests : newConnections(settings);
  const from = eachItsOwn ? 1 + warmUpCertificates + round * newConnections(settings) : 0;
  const before = await cpuMicroseconds(pid);
  const { connections } = settings;
  const { perSecond, p50Ms, p99Ms } = await load.run({ ...order, identities, from, eachItsOwn, kept, connections, requests });
  const after = await cpuMicroseconds(pid);
  return { perSecond, p50Ms, p99Ms, cpuMicroseconds: ((after ?? Number.NaN) - (before ?? Number.NaN)) / requests };
}
