/** Several endpoints before one chain: what a minority may do to a decision, which is nothing, and what no majority agrees on. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { patienceShare } from "../../auth-eth/quorum.ts";
import { generations, hashOf, kmsRequest as request, startChain, type TestChain } from "./support/chain.ts";
import { timed } from "./support/fair-time.ts";
import {
  ahead,
  answering,
  changed,
  changedHeader,
  changedMethod,
  changedWord,
  dead,
  dripping,
  type Fault,
  hanging,
  lagging,
  type RpcStub,
  slow,
  startRpcStub,
} from "./support/rpc-stub.ts";
import { startWebhook } from "./support/webhook.ts";

type Webhook = Awaited<ReturnType<typeof startWebhook>>;

const deadlineMs = 4_000;
const patienceMs = deadlineMs * patienceShare;
/** For the work itself on a busy machine. */
const slackMs = 1_500;
let chain: TestChain;
let stubs: [RpcStub, RpcStub, RpcStub];
const webhooks: Webhook[] = [];

afterEach(async () => {
  for (const stub of stubs) Object.assign(stub, { fault: undefined, trips: 0, asked: [] });
  await Promise.all(webhooks.splice(0).map((webhook) => webhook.close()));
});
async function started(env: Record<string, string> = {}, options: { now?: () => number } = {}): Promise<Webhook> {
  const urls = { ETH_RPC_URL: stubs.map(({ url }) => url).join(","), KMS_CONTRACT_ADDR: chain.kmsAuth.address };
  const webhook = await startWebhook({ ...urls, AUTH_DEADLINE_MS: `${deadlineMs}`, ...env }, options);
  webhooks.push(webhook);
  return webhook;
}
const headNumber = async () => Number(await chain.rpc("eth_blockNumber", []));
const trips = () => stubs.map((stub) => stub.trips);

const plusBlocks = (blocks: number) => changedHeader(({ number }) => ({ number: `0x${(Number(number) + blocks).toString(16)}` }));
const lies: [name: string, fault: Fault][] = [
  ["in the number of the block", plusBlocks(1)],
  ["with a block far ahead", plusBlocks(1_000_000)],
  ["with a block far ahead that its reads confirm", ahead(1_000_000)],
  ["with a block of before that its reads confirm", ahead(-2)],
  ["in the hash of the block", changedHeader(() => ({ hash: hashOf("e") }))],
  ["in the parent of the block", changedHeader(() => ({ parentHash: hashOf("d") }))],
  ["in the time of the block", changedHeader(({ timestamp }) => ({ timestamp: `0x${(Number(timestamp) + 1).toString(16)}` }))],
  ["with a block of long ago", changedHeader(() => ({ timestamp: "0x1" }))],
  ["in the chain id", changedMethod("eth_chainId", "0x1")],
  ...Array.from({ length: 15 }, (_, index): [string, Fault] => [`in word ${index} of the answer`, changedWord(index)]),
  ["in every word of the answer", changed((given, { method }) => (method === "eth_call" ? `0x${"ff".repeat(700)}` : given))],
  ["with a contract that has no code", changedMethod("eth_call", "0x")],
  ["with no head", changedMethod("eth_getBlockByNumber", null)],
];
const outages: [name: string, fault: Fault][] = [
  ["is dead", dead],
  ["hangs", hanging],
  ["drips", dripping],
  ["answers 429", answering(429)],
  ["answers 500", answering(500)],
  ["answers garbage", answering(200, "<html>")],
  ["lags by a block", lagging(1)],
  ["lags by five blocks", lagging(5)],
  ["is slow", slow(deadlineMs / 2)],
];
const minority: [name: string, fault: Fault][] = [
  ...lies.map(([name, fault]): [string, Fault] => [`lies ${name}`, fault]),
  ...outages,
];

describe.each(generations)("before the contracts %s:", (generation) => {
  beforeAll(async () => {
    chain = await startChain(generation);
    await chain.allowKms();
    await chain.kmsAuth.write.setGatewayAppId(["gateway"]);
    await chain.rpc("hardhat_mine", ["0x5"]);
    stubs = [await startRpcStub(chain.rpcUrl), await startRpcStub(chain.rpcUrl), await startRpcStub(chain.rpcUrl)];
  });
  afterAll(async () => {
    await Promise.all(stubs.map((stub) => stub.close()));
    await chain.close();
  });

  describe("two of three", () => {
    test("decide in one trip each", async () => {
      const webhook = await started();
      expect(await webhook.ask("kms", request)).toMatchObject({ code: "allowed", gatewayAppId: "gateway" });
      expect(trips()).toEqual([1, 1, 1]);
      expect(webhook.dissents).toEqual([]);
    });

    test.each(minority)("decide alike and in time when the third %s", async (_name, fault) => {
      const webhook = await started();
      for (const place of [0, 1, 2] as const) {
        stubs[place].fault = fault;
        const allowed = await timed(webhook.ask("kms", request));
        const denied = await timed(webhook.ask("kms", { ...request, deviceId: hashOf("9") }));
        const info = await timed(webhook.send("/"));
        expect(allowed.answer).toMatchObject({ code: "allowed", gatewayAppId: "gateway", block: { number: await headNumber() } });
        expect(denied.answer).toMatchObject({ code: "denied.device", gatewayAppId: "gateway" });
        expect(info.answer).toMatchObject({ status: 200, json: { chainId: 31_337, gatewayAppId: "gateway" } });
        expect(Math.max(allowed.ms, denied.ms, info.ms)).toBeLessThan(patienceMs + slackMs);
        stubs[place].fault = undefined;
      }
      expect((await webhook.ask("kms", request)).code).toBe("allowed"); // nothing that was said has stayed: no floor, no pin
    });

    test.each(minority)("decide at the lower block when they differ by one and the third %s", async (_name, fault) => {
      const webhook = await started();
      stubs[1].fault = lagging(1);
      stubs[2].fault = fault;
      const { answer, ms } = await timed(webhook.ask("kms", request));
      expect(answer).toMatchObject({ code: "allowed", gatewayAppId: "gateway" });
      expect(answer.block?.number).toBeGreaterThanOrEqual((await headNumber()) - 1);
      expect(ms).toBeLessThan(2 * patienceMs + slackMs);
    });

    test("go to the highest block that two of them have, by its number", async () => {
      const webhook = await started();
      [stubs[0].fault, stubs[1].fault, stubs[2].fault] = [lagging(3), lagging(1), undefined];
      const { block } = await webhook.ask("kms", request);
      const number = (await headNumber()) - 1;
      expect(block?.number).toBe(number);
      expect(trips().slice(1)).toEqual([2, 2]); // the second asks at the highest and the lowest that came into question
      const targets = stubs[2].asked.filter(({ method }) => method === "eth_call").map(({ params }) => params[1]);
      expect(targets).toEqual(["latest", `0x${number.toString(16)}`, `0x${(number - 2).toString(16)}`]);
    });

    test("name the endpoint that tells another story", async () => {
      const webhook = await started();
      stubs[1].fault = changedHeader(() => ({ hash: hashOf("e") }));
      stubs[2].fault = slow(50);
      await webhook.ask("kms", request);
      expect(webhook.dissents).toEqual([`${new URL(stubs[1].url).host} quorum`]);
    });

    test.each([
      ["down", [dead, dead], "unavailable.rpc-network"],
      ["refusing", [answering(429), answering(429)], "unavailable.rpc-status"],
      ["silent", [hanging, hanging], "unavailable.rpc-timeout"],
      ["silent or refusing", [hanging, answering(429)], "unavailable.rpc-status"],
      ["without the contract", [changedWord(4), changedWord(4)], "allowed"],
      ["of other opinions", [changedWord(9), changedHeader(() => ({ hash: hashOf("e") }))], "unavailable.quorum"],
      ["on another chain", [changedMethod("eth_chainId", "0x1"), changedMethod("eth_chainId", "0x1")], "unavailable.chain-id"],
      ["old", [changedHeader(() => ({ timestamp: "0x1" })), changedHeader(() => ({ timestamp: "0x1" }))], "unavailable.stale"],
    ] as const)("are too few when both others are %s", async (_name, faults, code) => {
      const webhook = await started({ ETH_CHAIN_ID: "31337" });
      [stubs[1].fault, stubs[2].fault] = faults;
      const { answer, ms } = await timed(webhook.ask("kms", request));
      expect(answer.code).toBe(code);
      expect(ms).toBeLessThan(deadlineMs + slackMs);
      for (const stub of stubs) stub.fault = undefined;
      expect((await webhook.ask("kms", request)).code).toBe("allowed");
    });

    test("see a revocation in the very next block", async () => {
      const webhook = await started();
      stubs[2].fault = lagging(1);
      await chain.kmsAuth.write.removeKmsDevice([request.deviceId]);
      expect((await webhook.ask("kms", request)).code).toBe("denied.device");
      await chain.kmsAuth.write.addKmsDevice([request.deviceId]);
      expect((await webhook.ask("kms", request)).code).toBe("allowed");
    });

    test("settle a block that was replaced between their answers", async () => {
      const webhook = await started();
      let isFirst = true;
      stubs[0].fault = async (calls, response, forward) => {
        const old = isFirst ? changedHeader(() => ({ hash: hashOf("e") })) : undefined;
        isFirst = false;
        if (old) await old(calls, response, forward);
        else response.end(JSON.stringify(await forward()));
      };
      stubs[2].fault = dead;
      expect((await webhook.ask("kms", request)).code).toBe("allowed");
    });
  });

  describe("three of three", () => {
    // whether code of one size or another is there makes no difference
    test.each(lies.filter(([name]) => name !== "in word 4 of the answer"))("refuse when one lies %s", async (_name, fault) => {
      const webhook = await started({ ETH_RPC_QUORUM: "3" });
      stubs[1].fault = fault;
      expect((await webhook.ask("kms", request)).code).toBe("unavailable.quorum");
      stubs[1].fault = undefined;
      expect((await webhook.ask("kms", request)).code).toBe("allowed");
    });
  });

  test("three of three that differ by some blocks decide at the lowest", async () => {
    const webhook = await started({ ETH_RPC_QUORUM: "3" });
    [stubs[0].fault, stubs[2].fault] = [lagging(1), lagging(4)];
    expect(await webhook.ask("kms", request)).toMatchObject({ code: "allowed", block: { number: (await headNumber()) - 4 } });
  });

  describe.each([
    ["confirmations", { ETH_FINALITY_CONFIRMATIONS: "2" }, 2],
    ["the safe block", { ETH_BLOCK_TAG: "safe" }, 0],
    ["the finalized block", { ETH_BLOCK_TAG: "finalized" }, 0],
  ] as const)("with %s", (_name, env, behind) => {
    test.each(minority)("two of three decide alike when the third %s", async (_fault, fault) => {
      const webhook = await started(env);
      stubs[1].fault = fault;
      const { answer, ms } = await timed(webhook.ask("kms", request));
      expect(answer).toMatchObject({ code: "allowed", block: { number: (await headNumber()) - behind } });
      expect(ms).toBeLessThan(patienceMs + slackMs);
    });
  });
});
