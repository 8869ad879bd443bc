/** A closed loop of requests over TLS: on kept connections, or each on a new one; with one client certificate or the next of a list. */
import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { endWithParent } from "./child.ts";

export interface TlsLoadOrder {
  readonly url: string;
  readonly path: string;
  readonly body: string;
  /** Every answer must contain it. */
  readonly expected: string;
  /** JSON list of `{ key, cert }`. */
  readonly identities: string;
  /** The identity of the first request. */
  readonly from: number;
  /** Every request takes the identity after the last one's. */
  readonly eachItsOwn: boolean;
  readonly kept: boolean;
  readonly connections: number;
  /** Ends at whichever comes first. */
  readonly requests: number;
  readonly seconds?: number;
}

export interface TlsLoadResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly wrong: number;
  /** The first wrong answer. */
  readonly example: string;
}

interface Identity {
  readonly key: string;
  readonly cert: string;
}

process.on("message", (order: TlsLoadOrder) => void run(order).then((result) => process.send?.(result)));
endWithParent();
process.send?.({ url: "" });

async function run(order: TlsLoadOrder): Promise<TlsLoadResult> {
  const identities = JSON.parse(await readFile(order.identities, "utf8")) as Identity[];
  const agent = new Agent({ keepAlive: order.kept, maxSockets: order.connections, maxCachedSessions: 0 });
  const latencies: number[] = [];
  const wrong: string[] = [];
  let next = 0;
  const start = performance.now();
  const end = start + (order.seconds ?? Number.POSITIVE_INFINITY) * 1000;
  const loop = async () => {
    while (next < order.requests && performance.now() < end) {
      const identity = identities[order.from + (order.eachItsOwn ? next : 0)];
      next += 1;
      if (identity === undefined) throw new Error("too few client certificates");
      const began = performance.now();
      const answer = await post(order, agent, identity).catch((error: unknown) => String(error));
      latencies.push(performance.now() - began);
      if (!answer.includes(order.expected)) wrong.push(answer);
    }
  };
  await Promise.all(Array.from({ length: order.connections }, loop));
  const seconds = (performance.now() - start) / 1000;
  agent.destroy();
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN;
  const times = { perSecond: latencies.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
  return { requests: latencies.length, ...times, wrong: wrong.length, example: wrong[0] ?? "" };
}

function post({ url, path, body }: TlsLoadOrder, agent: Agent, { key, cert }: Identity): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { "content-length": Buffer.byteLength(body) };
    const options = { method: "POST", agent, headers, key, cert, rejectUnauthorized: false };
    const outgoing = request(url + path, options, (response) => {
      let answer = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        answer += chunk;
      });
      response.on("end", () => resolve(answer));
      response.on("error", reject);
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
