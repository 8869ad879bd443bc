/** What load generators share: loops that ask again as soon as they are answered, their figures, and the reading of an answer. */
import type { ClientRequest } from "node:http";

export interface LoopLimits {
  readonly connections: number;
  /** Ends at whichever comes first. */
  readonly seconds?: number;
  readonly requests?: number;
}

export interface LoopFigures {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** `ask` gets the index of its request. */
export async function closedLoop(limits: LoopLimits, ask: (index: number) => Promise<void>): Promise<LoopFigures> {
  const latencies: number[] = [];
  const most = limits.requests ?? Number.POSITIVE_INFINITY;
  let next = 0;
  const start = performance.now();
  const end = start + (limits.seconds ?? Number.POSITIVE_INFINITY) * 1000;
  const loop = async () => {
    while (performance.now() < end && next < most) {
      const index = next++;
      const began = performance.now();
      await ask(index);
      latencies.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: limits.connections }, loop));
  const seconds = (performance.now() - start) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN;
  return { requests: latencies.length, perSecond: latencies.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Sends the body and reads the whole answer. */
export function answerOf(outgoing: ClientRequest, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    outgoing.on("response", (response) => {
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
