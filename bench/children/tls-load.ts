/** A closed loop of requests over TLS: on kept connections, or each on a new one; with one client certificate or the next of a list. */
import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { endWithParent } from "./child.ts";
import { answerOf, closedLoop, type LoopFigures, type LoopLimits } from "./closed-loop.ts";

export interface TlsLoadOrder extends LoopLimits {
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
  readonly requests: number;
}

export interface TlsLoadResult extends LoopFigures {
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
  const { url, path, body } = order;
  const identities = JSON.parse(await readFile(order.identities, "utf8")) as Identity[];
  const agent = new Agent({ keepAlive: order.kept, maxSockets: order.connections, maxCachedSessions: 0 });
  const headers = { "content-length": Buffer.byteLength(body) };
  const wrong: string[] = [];
  const figures = await closedLoop(order, async (index) => {
    const identity = identities[order.from + (order.eachItsOwn ? index : 0)];
    if (identity === undefined) throw new Error("too few client certificates");
    const options = { method: "POST", agent, headers, ...identity, rejectUnauthorized: false };
    const answer = await answerOf(request(url + path, options), body).catch((error: unknown) => String(error));
    if (!answer.includes(order.expected)) wrong.push(answer);
  });
  agent.destroy();
  return { ...figures, wrong: wrong.length, example: wrong[0] ?? "" };
}
