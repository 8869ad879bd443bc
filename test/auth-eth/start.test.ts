/** What the webhook does about its chain before it listens: a wrong one ends the start, one that is down is waited for. */
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startChain, type TestChain } from "./support/chain.ts";
import { startProcess } from "./support/process.ts";
import { answering, changedMethod, dead, hanging, type RpcStub, startRpcStub } from "./support/rpc-stub.ts";

let chain: TestChain;
let stub: RpcStub;
beforeAll(async () => {
  chain = await startChain();
  stub = await startRpcStub(chain.rpcUrl);
});
afterAll(async () => {
  await stub.close();
  await chain.close();
});

const nowhere = `0x${"12".repeat(20)}`;
const env = (more: Record<string, string>) => ({
  ETH_RPC_URL: `${stub.url}/s3cret`,
  KMS_CONTRACT_ADDR: chain.kmsAuth.address,
  PORT: "0",
  AUTH_DEADLINE_MS: "1000",
  ...more,
});

test.each([
  ["another chain", { ETH_CHAIN_ID: "1" }, "ETH_RPC_URL serves another chain than ETH_CHAIN_ID 1"],
  ["no contract", { KMS_CONTRACT_ADDR: nowhere }, `KMS_CONTRACT_ADDR ${nowhere} has no code on the chain of ETH_RPC_URL`],
])("refuses to start with %s", async (_name, more, problem) => {
  stub.fault = undefined;
  const { child, lineOf } = startProcess(env(more));
  const [[status], line] = await Promise.all([once(child, "exit"), lineOf("configuration refused")]);
  expect(status).toBe(2);
  expect(line).toMatchObject({ code: "malformed.config", problems: [problem] });
});

test.each([["contradicts itself", changedMethod("eth_chainId", "0x1"), "ETH_RPC_URL contradicts itself on the chain id"]])(
  "refuses to start where the endpoint %s",
  async (_name, fault, problem) => {
    stub.fault = fault;
    const { child, lineOf } = startProcess(env({}));
    const [[status], line] = await Promise.all([once(child, "exit"), lineOf("configuration refused")]);
    expect([status, line]).toMatchObject([2, { problems: [problem] }]);
  },
);

test.each([
  ["is dead", dead, "rpc-network"],
  ["is silent", hanging, "rpc-timeout"],
  ["refuses", answering(429), "rpc-status"],
])("runs where the endpoint %s, and decides once it is back", async (_name, fault, boundary) => {
  stub.fault = fault;
  const { child, lineOf } = startProcess(env({}));
  expect(await lineOf("not ready yet")).toMatchObject({ boundary });
  const { url } = await lineOf("listening");
  expect((await fetch(url)).status).toBe(500);
  stub.fault = undefined;
  expect((await fetch(url)).status).toBe(200);
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
});
