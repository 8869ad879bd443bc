/** How much memory the webhook holds while it answers many requests under the documented heap flags, and whether that grows. */
import { allowedText, decisionPath, question } from "./auth-question.ts";
import { residentMiB, startChild, startLoad, startWebhook } from "./processes.ts";

const steps = 10;
const connections = 32;

export interface MemoryResult {
  readonly requests: number;
  /** After each tenth of the requests. */
  readonly residentMiB: readonly number[];
}

export async function measureMemory(requests: number): Promise<MemoryResult> {
  const stub = await startChild("stub-rpc.ts", "0");
  const load = await startLoad();
  const webhook = await startWebhook(stub.url);
  const order = { url: webhook.url + decisionPath, body: JSON.stringify(question), expected: allowedText, connections };
  try {
    const resident: number[] = [];
    for (let step = 0; step < steps; step++) {
      await load.run({ ...order, requests: Math.ceil(requests / steps) });
      resident.push((await residentMiB(webhook.pid)) ?? Number.NaN);
    }
    return { requests, residentMiB: resident };
  } finally {
    for (const each of [webhook, load, stub]) await each.close();
  }
}
