/** A revocation counts from the moment its block is the head, while decisions run and blocks come on their own. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { bootInfoSchema } from "../../auth-eth/api.ts";
import { kmsRequest, startChain, type TestChain } from "./support/chain.ts";
import { revokeRepeatedly } from "./support/revocation.ts";
import { startWebhook } from "./support/webhook.ts";

let chain: TestChain;
let webhook: Awaited<ReturnType<typeof startWebhook>>;

beforeAll(async () => {
  chain = await startChain();
  webhook = await startWebhook({ ETH_RPC_URL: chain.rpcUrl, KMS_CONTRACT_ADDR: chain.kmsAuth.address });
});
afterAll(async () => {
  await webhook.close();
  await chain.close();
});

test.each([
  ["its own", 1],
  ["a shared", 6],
])(
  "refuses in every decision that starts after the revocation's block is the head, over %s request",
  async (_whose, together) => {
    const decide = () => webhook.authority.decide("kms", bootInfoSchema.parse(kmsRequest));
    const ask = async () => {
      const decisions = await Promise.all(Array.from({ length: together }, decide));
      return { isAllowed: decisions.some(({ isAllowed }) => isAllowed) };
    };
    const rounds = await revokeRepeatedly({ chain, ask, rounds: 3, blockMs: 150 });
    expect(rounds.map(({ allowed }) => allowed)).toEqual([0, 0, 0]);
    for (const { decisions } of rounds) expect(decisions).toBeGreaterThanOrEqual(20);
  },
);

test("the measure itself catches a webhook that remembers its answer", async () => {
  let remembered: { readonly isAllowed: boolean } = { isAllowed: false };
  const refresh = setInterval(() => void webhook.ask("kms", kmsRequest).then((decision) => (remembered = decision)), 300);
  const ask = () => new Promise<typeof remembered>((resolve) => setTimeout(() => resolve(remembered), 2));
  const [round] = await revokeRepeatedly({ chain, ask, rounds: 1, blockMs: 700 });
  clearInterval(refresh);
  expect(round?.allowed).toBeGreaterThan(0);
});
