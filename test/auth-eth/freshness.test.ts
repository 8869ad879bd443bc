/** Old, future and receding blocks decide nothing, and the configured tag is the one that is asked. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { kmsRequest as request, startChain, type TestChain } from "./support/chain.ts";
import { ahead, type RpcStub, slow, startRpcStub, tagged } from "./support/rpc-stub.ts";
import { startWebhook } from "./support/webhook.ts";

const depth = { latest: 0, safe: 2, finalized: 4 };
let chain: TestChain;
let stubs: [RpcStub, RpcStub, RpcStub];
const webhooks: Awaited<ReturnType<typeof startWebhook>>[] = [];

beforeAll(async () => {
  chain = await startChain();
  await chain.allowKms();
  await chain.rpc("hardhat_mine", ["0x6"]); // so that every depth sees the device
  stubs = [await startRpcStub(chain.rpcUrl), await startRpcStub(chain.rpcUrl), await startRpcStub(chain.rpcUrl)];
});
afterEach(async () => {
  for (const stub of stubs) Object.assign(stub, { fault: undefined, asked: [] });
  await Promise.all(webhooks.splice(0).map((webhook) => webhook.close()));
});
afterAll(async () => {
  await Promise.all(stubs.map((stub) => stub.close()));
  await chain.close();
});

async function started(env: Record<string, string> = {}, now?: () => number, endpoints = 1) {
  const urls = stubs.slice(0, endpoints).map(({ url }) => url);
  const webhook = await startWebhook(
    { ETH_RPC_URL: urls.join(" "), KMS_CONTRACT_ADDR: chain.kmsAuth.address, ...env },
    now && { now },
  );
  webhooks.push(webhook);
  return webhook;
}
const headNumber = async () => Number(await chain.rpc("eth_blockNumber", []));
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
  for (const endpoints of [1, 3]) {
    const webhook = await started(env, () => time * 1000, endpoints);
    expect((await webhook.ask("kms", request)).code).toBe(code);
  }
});

test("never goes back behind a block that it has decided from", async () => {
  for (const endpoints of [1, 3]) {
    const webhook = await started({}, undefined, endpoints);
    await webhook.ask("kms", request);
    for (const stub of stubs) stub.fault = tagged({ latest: 1 });
    expect((await webhook.ask("kms", request)).code).toBe("unavailable.stale");
    for (const stub of stubs) stub.fault = undefined;
    expect((await webhook.ask("kms", request)).code).toBe("allowed");
  }
});

test("one of three that names a block far ahead neither raises the floor nor makes the others stale", async () => {
  const webhook = await started({}, undefined, 3);
  stubs[0].fault = ahead(1_000_000);
  expect((await webhook.ask("kms", request)).code).toBe("allowed");
  stubs[0].fault = undefined;
  const { code, block } = await webhook.ask("kms", request);
  expect([code, block?.number]).toEqual(["allowed", await headNumber()]);
});

test("one of three that names an old block is not followed while another is only slow", async () => {
  await chain.rpc("hardhat_mine", ["0x4", "0xc"]);
  await chain.kmsAuth.write.removeKmsDevice([request.deviceId]);
  stubs[0].fault = tagged({ latest: 3 });
  stubs[1].fault = slow(700);
  const webhook = await started({}, undefined, 3);
  const { code, block } = await webhook.ask("kms", request);
  expect([code, block?.number]).toEqual(["denied.device", await headNumber()]);
  await chain.kmsAuth.write.addKmsDevice([request.deviceId]);
  await chain.rpc("hardhat_mine", ["0x6"]);
});

describe.each(["latest", "safe", "finalized"] as const)("the tag %s", (tag) => {
  test("is asked for header and reads, and decides", async () => {
    stubs[0].fault = tagged(depth);
    const webhook = await started({ ETH_BLOCK_TAG: tag });
    const { code, block } = await webhook.ask("kms", request);
    expect([code, block?.number]).toEqual(["allowed", (await headNumber()) - depth[tag]]);
    expect(stubs[0].asked.map(({ method, params }) => [method, params.find((p) => typeof p === "string")])).toEqual([
      ["eth_chainId", undefined],
      ["eth_getBlockByNumber", tag],
      ["eth_call", tag],
    ]);
  });

  test("may name different blocks at three endpoints: the highest that two of them have decides", async () => {
    stubs[0].fault = tagged(depth);
    stubs[1].fault = tagged({ latest: 1, safe: 3, finalized: 5 });
    stubs[2].fault = tagged({ latest: 2, safe: 4, finalized: 6 });
    const webhook = await started({ ETH_BLOCK_TAG: tag }, undefined, 3);
    const { code, block } = await webhook.ask("kms", request);
    expect([code, block?.number]).toEqual(["allowed", (await headNumber()) - depth[tag] - 1]);
  });

  test("is unavailable where the endpoint does not know it", async () => {
    stubs[0].fault = async (calls, response, forward) => {
      const known = await forward(calls.map((call) => ({ ...call, params: call.params.map((p) => (p === tag ? "latest" : p)) })));
      const error = { code: -39_001, message: `${tag} block not found` };
      response.end(
        JSON.stringify(known.map((answer, i) => (calls[i]?.params.includes(tag) ? { id: answer.id, error } : answer))),
      );
    };
    const webhook = await started({ ETH_BLOCK_TAG: tag });
    expect((await webhook.ask("kms", request)).code).toBe("unavailable.rpc-error");
  });
});
