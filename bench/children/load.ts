/** A closed loop of requests over kept-alive connections of a plain node:http agent; the parent says what and for how long. */
import { Agent, request } from "node:http";
import { endWithParent } from "./child.ts";

export interface LoadOrder {
  readonly url: string;
  readonly body: string;
  /** Every answer must contain it. */
  readonly expected: string;
  readonly connections: number;
  /** Ends at whichever comes first. */
  readonly seconds?: number;
  readonly requests?: number;
}

export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly wrong: number;
}

process.on("message", (order: LoadOrder) => void run(order).then((result) => process.send?.(result)));
endWithParent();
process.send?.({ url: "" });

async function run(order: LoadOrder): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: order.connections });
  const latencies: number[] = [];
  let wrong = 0;
  let remaining = order.requests ?? Number.POSITIVE_INFINITY;
  const start = performance.now();
  const end = start + (order.seconds ?? Number.POSITIVE_INFINITY) * 1000;
  const loop = async () => {
    while (performance.now() < end && remaining-- > 0) {
      const began = performance.now();
      const answer = await post(order, agent).catch(() => "");
      latencies.push(performance.now() - began);
      if (!answer.includes(order.expected)) wrong += 1;
    }
  };
  await Promise.all(Array.from({ length: order.connections }, loop));
  const seconds = (performance.now() - start) / 1000;
  agent.destroy();
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN;
  return { requests: latencies.length, perSecond: latencies.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99), wrong };
}

function post({ url, body }: LoadOrder, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const outgoing = request(url, { method: "POST", agent, headers }, (response) => {
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
