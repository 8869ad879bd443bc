/** Old, future and receding blocks decide nothing, and the configured tag is the one that is asked. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hashOf, startChain, type TestChain } from "./support/chain.ts";
import { bodyOf, startWebhook } from "./support/webhook.ts";

type Call = { id: number; method: string; params: unknown[] };

const request = {
  mrAggregated: hashOf("1"),
  osImageHash: hashOf("2"),
  deviceId: hashOf("3"),
  appId: "11".repeat(20),
  composeHash: "",
  instanceId: "",
  tcbStatus: "UpToDate",
};
let chain: TestChain;
let asked: Call[] = [];
/** What the stub puts in place of every block tag. */
let lag: string | undefined;
const stub = createServer(async (incoming, response) => {
  const calls = JSON.parse(await bodyOf(incoming)) as Call[];
  asked = [...asked, ...calls];
  const lagging = calls.map((call) => ({ ...call, params: call.params.map((p) => (typeof p === "string" && lag ? lag : p)) }));
  const headers = { "content-type": "application/json" };
  response.end(await (await fetch(chain.rpcUrl, { method: "POST", headers, body: JSON.stringify(lagging) })).text());
});

beforeAll(async () => {
  chain = await startChain();
  await chain.kmsAuth.write.addKmsAggregatedMr([hashOf("1")]);
  await chain.kmsAuth.write.addOsImageHash([hashOf("2")]);
  await chain.kmsAuth.write.addKmsDevice([hashOf("3")]);
  await chain.rpc("hardhat_mine", ["0x1"]); // so that one confirmation sees the device
  await new Promise<void>((resolve) => stub.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  stub.closeAllConnections();
  stub.close();
  await chain.close();
});

async function started(env: Record<string, string> = {}, now?: () => number) {
  const rpcUrl = `http://127.0.0.1:${(stub.address() as AddressInfo).port}`;
  return startWebhook({ ETH_RPC_URL: rpcUrl, KMS_CONTRACT_ADDR: chain.kmsAuth.address, ...env }, now && { now });
}
const headTime = async () =>
  Number(((await chain.rpc("eth_getBlockByNumber", ["latest", false])) as { timestamp: string }).timestamp);

test.each([
  ["0", 61, "unavailable.stale"],
  ["0", 60, "allowed"],
  ["0", -60, "allowed"],
  ["0", -61, "unavailable.stale"],
  ["1", 61, "unavailable.stale"],
  ["1", 60, "allowed"],
] as const)("with %s confirmations and a clock %i s after the head answers %s", async (confirmations, seconds, code) => {
  const time = (await headTime()) + seconds;
  const env = { ETH_MAX_HEAD_AGE_SECONDS: "60", ETH_FINALITY_CONFIRMATIONS: confirmations };
  const webhook = await started(env, () => time * 1000);
  expect((await webhook.ask("kms", request)).code).toBe(code);
  await webhook.close();
});

test("never goes back behind a block that it has decided from", async () => {
  const webhook = await started();
  const { block } = await webhook.ask("kms", request);
  lag = `0x${((block?.number ?? 0) - 1).toString(16)}`;
  expect((await webhook.ask("kms", request)).code).toBe("unavailable.stale");
  lag = undefined;
  expect((await webhook.ask("kms", request)).code).toBe("allowed");
  await webhook.close();
});

test.each(["latest", "safe", "finalized"])("asks for header and reads at the tag %s", async (tag) => {
  const webhook = await started({ ETH_BLOCK_TAG: tag });
  asked = [];
  expect((await webhook.ask("kms", request)).code).toBe("allowed");
  expect(asked.map(({ method, params }) => [method, params.find((p) => typeof p === "string")])).toEqual([
    ["eth_chainId", undefined],
    ["eth_getBlockByNumber", tag],
    ["eth_call", tag],
  ]);
  await webhook.close();
});
