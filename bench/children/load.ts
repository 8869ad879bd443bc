/** A closed loop of requests over kept-alive connections of a plain node:http agent; the parent says what and for how long. */
import { Agent, request } from "node:http";
import { endWithParent } from "./child.ts";
import { answerOf, closedLoop, type LoopFigures, type LoopLimits } from "./closed-loop.ts";

export interface LoadOrder extends LoopLimits {
  readonly url: string;
  readonly body: string;
  /** Every answer must contain it. */
  readonly expected: string;
}

export interface LoadResult extends LoopFigures {
  readonly wrong: number;
}

process.on("message", (order: LoadOrder) => void run(order).then((result) => process.send?.(result)));
endWithParent();
process.send?.({ url: "" });

async function run(order: LoadOrder): Promise<LoadResult> {
  const { url, body, expected } = order;
  const agent = new Agent({ keepAlive: true, maxSockets: order.connections });
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  let wrong = 0;
  const figures = await closedLoop(order, async () => {
    const answer = await answerOf(request(url, { method: "POST", agent, headers }), body).catch(() => "");
    if (!answer.includes(expected)) wrong += 1;
  });
  agent.destroy();
  return { ...figures, wrong };
}
