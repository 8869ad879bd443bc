/** How long after its block became the head a revocation is refused by the webhook, on the embedded chain mining on an interval. */
import hre from "hardhat";
import { bootResponseSchema } from "../auth-eth/api.ts";
import { kmsRequest, startChain } from "../test/auth-eth/support/chain.ts";
import { type RevocationRound, revokeRepeatedly } from "../test/auth-eth/support/revocation.ts";
import { decisionPath } from "./auth-question.ts";
import { startWebhook } from "./processes.ts";

const blockMs = 250;

export interface RevocationResult {
  readonly blockMs: number;
  readonly rounds: readonly RevocationRound[];
}

export async function measureRevocation(rounds: number): Promise<RevocationResult> {
  await hre.tasks.getTask("build").run({ quiet: true });
  const chain = await startChain();
  const webhook = await startWebhook(chain.rpcUrl, { contract: chain.kmsAuth.address });
  const request = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(kmsRequest) };
  const ask = async () => bootResponseSchema.parse(await (await fetch(webhook.url + decisionPath, request)).json());
  try {
    return { blockMs, rounds: await revokeRepeatedly({ chain, ask, rounds, blockMs }) };
  } finally {
    await webhook.close();
    await chain.close();
  }
}
