/** Who is measured side by side: the bare call as the floor, the HTTP library alone, webhooks of three trips, and ours. */
import { encodeFunctionData } from "viem";
import { abi } from "./auth-abi.ts";
import { allowedText, bootInfo, contract, decisionPath, question } from "./auth-question.ts";
import type { LoadOrder } from "./children/load.ts";
import { type Running, startChild, startWebhook } from "./processes.ts";

export const contenderNames = ["bare eth_call", "Hono, a constant", "three trips, viem", "three trips, ours", "webhook"] as const;
export type ContenderName = (typeof contenderNames)[number];

export interface Contender {
  readonly name: ContenderName;
  readonly order: Pick<LoadOrder, "url" | "body" | "expected">;
  /** The process whose CPU time the answers cost. */
  readonly pid: number;
}

export interface Contest {
  readonly contenders: readonly Contender[];
  close(): Promise<void>;
}

const bareCall = JSON.stringify({
  jsonrpc: "2.0",
  id: 1,
  method: "eth_call",
  params: [{ to: contract, data: encodeFunctionData({ abi, functionName: "isKmsAllowed", args: [bootInfo] }) }, "latest"],
});

/** One stub chain of that latency, and every contender that asks it. */
export async function startContest(latencyMs: number): Promise<Contest> {
  const stub = await startChild("stub-rpc.ts", String(latencyMs));
  const started: Running[] = [stub];
  const close = async () => {
    for (const each of started.reverse()) await each.close();
  };
  const asked = (name: ContenderName, child: Running): Contender => {
    started.push(child);
    const order = { url: child.url + decisionPath, body: JSON.stringify(question), expected: allowedText };
    return { name, order, pid: child.pid };
  };
  try {
    const contenders: Contender[] = [
      { name: "bare eth_call", order: { url: stub.url, body: bareCall, expected: '"result":"0x' }, pid: stub.pid },
      asked("Hono, a constant", await startChild("hono-constant.ts")),
      asked("three trips, viem", await startChild("viem-three-trips.ts", stub.url)),
      asked("three trips, ours", await startChild("our-three-trips.ts", stub.url)),
      asked("webhook", await startWebhook(stub.url)),
    ];
    return { contenders, close };
  } catch (error) {
    await close();
    throw error;
  }
}
