/** A chain endpoint that fails in every way: the webhook answers the generic refusal in time, leaks nothing, and recovers. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hashOf, startChain, type TestChain } from "./support/chain.ts";
import { bodyOf, jsonPost, startWebhook, unavailable } from "./support/webhook.ts";

type Fault = (body: RpcBody, response: ServerResponse, forward: () => Promise<unknown[]>) => void | Promise<void>;
type RpcBody = { id: number; method: string; params: unknown[] }[];

const deadlineMs = 800;
const slackMs = 600;
const secret = "s3cret-key";
let chain: TestChain;
let fault: Fault | undefined;
let trips = 0;
let lastAuthorization: string | undefined;
let rpcUrl: string;
let webhook: Awaited<ReturnType<typeof startWebhook>>;

const stub = createServer(async (request, response) => {
  trips += 1;
  lastAuthorization = request.headers.authorization;
  const text = await bodyOf(request);
  const headers = { "content-type": "application/json" };
  const forward = async () => (await fetch(chain.rpcUrl, { method: "POST", headers, body: text })).json() as Promise<unknown[]>;
  if (fault) await fault(JSON.parse(text), response, forward);
  else response.end(JSON.stringify(await forward()));
});

beforeAll(async () => {
  chain = await startChain();
  await chain.kmsAuth.write.addKmsAggregatedMr([hashOf("1")]);
  await chain.kmsAuth.write.addOsImageHash([hashOf("2")]);
  await chain.kmsAuth.write.addKmsDevice([hashOf("3")]);
  await new Promise<void>((resolve) => stub.listen(0, "127.0.0.1", resolve));
  rpcUrl = `http://user:${secret}@127.0.0.1:${(stub.address() as AddressInfo).port}/v1/${secret}?key=${secret}`;
  webhook = await startWebhook(env());
});
afterAll(async () => {
  await webhook.close();
  stub.closeAllConnections();
  stub.close();
  await chain.close();
});

const env = () => ({ ETH_RPC_URL: rpcUrl, KMS_CONTRACT_ADDR: chain.kmsAuth.address, AUTH_DEADLINE_MS: `${deadlineMs}` });
const request = {
  mrAggregated: hashOf("1"),
  osImageHash: hashOf("2"),
  deviceId: hashOf("3"),
  appId: "11".repeat(20),
  composeHash: "",
  instanceId: "",
  tcbStatus: "UpToDate",
};
const allowed = { status: 200, json: { isAllowed: true, reason: "", gatewayAppId: "" } };
const infoError = { status: 500, json: { status: "error", message: "authorization backend unavailable" } };
const answerAll = (results: (call: RpcBody[number]) => object): Fault => {
  return (body, response) =>
    void response.end(JSON.stringify(body.map((call) => ({ jsonrpc: "2.0", id: call.id, ...results(call) }))));
};
/** The real answers, changed. */
const edited = (edit: (answers: { id: number; result: unknown }[], body: RpcBody) => unknown): Fault => {
  return async (body, response, forward) =>
    void response.end(JSON.stringify(edit((await forward()) as { id: number; result: unknown }[], body)));
};
const word = (hex: string) => hex.padStart(64, "0");
const edit = (method: string, result: unknown): Fault =>
  edited((answers, body) => answers.map((a) => (body.find((c) => c.id === a.id)?.method === method ? { ...a, result } : a)));

const editHead = (changes: object): Fault =>
  edited((answers, body) =>
    answers.map((a) =>
      body.find((c) => c.id === a.id)?.method.startsWith("eth_getBlockBy")
        ? { ...a, result: { ...(a.result as object), ...changes } }
        : a,
    ),
  );

const faults: [name: string, fault: Fault][] = [
  ["ends the connection", (_body, response) => void response.destroy()],
  ["never answers", () => undefined],
  ["drips a byte at a time", (_body, response) => void drip(response)],
  ["answers 429", (_body, response) => void response.writeHead(429).end("{}")],
  ["answers 500", (_body, response) => void response.writeHead(500).end(secret)],
  ["redirects", (_body, response) => void response.writeHead(307, { location: chain.rpcUrl }).end()],
  ["answers garbage", (_body, response) => void response.end(`<html>${secret}</html>`)],
  ["answers nothing", (_body, response) => void response.end()],
  ["answers an object", (_body, response) => void response.end('{"jsonrpc":"2.0","id":0,"result":"0x1"}')],
  ["answers one of two", edited((answers) => answers.slice(0, 1))],
  ["answers one id twice", edited((answers) => answers.map((answer) => ({ ...answer, id: 0 })))],
  ["answers other ids", edited((answers) => answers.map((answer) => ({ ...answer, id: answer.id + 7 })))],
  ["answers errors", answerAll(() => ({ error: { code: -32000, message: secret } }))],
  ["answers neither result nor error", answerAll(() => ({}))],
  ["answers a huge body", (_body, response) => void response.end(`[${" ".repeat(2 * 1024 * 1024)}]`)],
  ["names another chain", edit("eth_chainId", "0x1")],
  ["names a chain id that is no quantity", edit("eth_chainId", "31337")],
  ["names a padded chain id", edit("eth_chainId", "0x07a69")],
  ["has no head", edit("eth_getBlockByNumber", null)],
  ["names a head that is no block", edit("eth_getBlockByNumber", { number: -1 })],
  ["names a head that nobody has", editHead({ hash: hashOf("e"), parentHash: hashOf("d") })],
  ["has no contract", edit("eth_call", "0x")],
  ["answers calls with zeros", edit("eth_call", `0x${word("0")}`)],
  ["answers calls with a boolean of two", edit("eth_call", `0x${word("2")}${word("40")}${word("0")}`)],
  ["answers calls with odd hex", edit("eth_call", "0x123")],
  ["answers calls with null", edit("eth_call", null)],
];

test("serves credentials of the URL as Basic authorization", async () => {
  expect(await webhook.post("kms", request)).toEqual(allowed);
  expect(lastAuthorization).toBe(`Basic ${btoa(`user:${secret}`)}`);
  expect((await webhook.send("/")).json).toMatchObject({ ethRpcUrl: new URL(rpcUrl).origin });
});

test.each(faults)("refuses within its deadline when the endpoint %s, then recovers", async (_name, broken) => {
  fault = broken;
  trips = 0;
  const start = performance.now();
  const answers = await Promise.all([webhook.post("kms", request), webhook.post("app", request), webhook.send("/")]);
  const elapsed = performance.now() - start;
  fault = undefined;
  expect(answers).toEqual([{ status: 200, json: unavailable }, { status: 200, json: unavailable }, infoError]);
  expect(elapsed).toBeLessThan(deadlineMs + slackMs);
  expect(trips).toBeLessThanOrEqual(3 * 2 * 2); // three requests, two attempts, at most two trips each
  expect(await webhook.post("kms", request)).toEqual(allowed);
});

test("one failed trip is repaired by the retry", async () => {
  let failures = 1;
  fault = async (_body, response, forward) => {
    if (failures-- > 0) response.destroy();
    else response.end(JSON.stringify(await forward()));
  };
  expect(await webhook.post("kms", request)).toEqual(allowed);
  fault = undefined;
});

test("decides in one round trip, and names the block", async () => {
  trips = 0;
  const decision = await webhook.ask("kms", request);
  const head = (await chain.rpc("eth_getBlockByNumber", ["latest", false])) as {
    number: string;
    hash: string;
    timestamp: string;
  };
  expect(trips).toBe(1);
  expect(decision.block).toEqual({ number: Number(head.number), hash: head.hash, timestamp: Number(head.timestamp) });
});

test.each([
  ["number", { number: "0x1" }],
  ["parent", { parentHash: hashOf("d") }],
  ["time", { timestamp: "0x6b000000" }],
])("asks again at the hash when header and reads disagree in %s", async (_name, changes) => {
  const blocks: unknown[] = [];
  let disagreements = 1;
  fault = async (body, response, forward) => {
    blocks.push(...body.filter(({ method }) => method === "eth_call").map(({ params }) => params[1]));
    if (disagreements-- > 0) await editHead(changes)(body, response, forward);
    else response.end(JSON.stringify(await forward()));
  };
  const decision = await webhook.ask("kms", request);
  fault = undefined;
  const pinned = { blockHash: decision.block?.hash, requireCanonical: true };
  expect(decision).toMatchObject({ isAllowed: true, block: { hash: expect.stringMatching(/^0x[0-9a-f]{64}$/) } });
  expect(blocks).toEqual(["latest", pinned, pinned]);
});

test("asks a node that cannot run the program call by call", async () => {
  fault = async (body, response, forward) => {
    const answers = (await forward()) as { id: number }[];
    const isProgram = (id: number) =>
      body.some((call) => call.id === id && call.method === "eth_call" && !("to" in Object(call.params[0])));
    response.end(JSON.stringify(answers.map((a) => (isProgram(a.id) ? { id: a.id, error: { code: 3, message: "no" } } : a))));
  };
  expect(await webhook.post("kms", request)).toEqual(allowed);
  fault = undefined;
});

test("reads at the head minus the confirmations", async () => {
  const blocks: unknown[] = [];
  fault = async (body, response, forward) => {
    blocks.push(...body.filter(({ method }) => method === "eth_call").map(({ params }) => params[1]));
    response.end(JSON.stringify(await forward()));
  };
  const env = { ETH_RPC_URL: rpcUrl, KMS_CONTRACT_ADDR: chain.kmsAuth.address, ETH_FINALITY_CONFIRMATIONS: "1" };
  const confirmed = await startWebhook(env);
  await chain.kmsAuth.write.removeKmsDevice([hashOf("3")]);
  expect(await confirmed.post("kms", request)).toEqual(allowed);
  const head = BigInt((await chain.rpc("eth_blockNumber", [])) as string);
  expect(blocks).toEqual([`0x${(head - 1n).toString(16)}`]);
  await chain.kmsAuth.write.addKmsDevice([hashOf("3")]);
  await confirmed.close();
  fault = undefined;
});

test.each([
  ["a chain of another id", { ETH_CHAIN_ID: "1" }],
  ["a head below the confirmations", { ETH_FINALITY_CONFIRMATIONS: "100000" }],
  ["a contract address without code", { KMS_CONTRACT_ADDR: `0x${"12".repeat(20)}` }],
  ["an endpoint that refuses connections", { ETH_RPC_URL: "http://127.0.0.1:1" }],
])("refuses with %s", async (_name, env) => {
  const other = await startWebhook({ ETH_RPC_URL: rpcUrl, KMS_CONTRACT_ADDR: chain.kmsAuth.address, ...env });
  expect(await other.post("kms", request)).toEqual({ status: 200, json: unavailable });
  expect(await other.send("/")).toEqual(infoError);
  await other.close();
});

test("refuses at once what is over the limit of running requests", async () => {
  const small = await startWebhook({ ...env(), AUTH_MAX_CONCURRENT: "1" });
  fault = () => undefined;
  trips = 0;
  const first = small.post("kms", request);
  await expect.poll(() => trips).toBeGreaterThan(0);
  const second = await small.post("kms", request);
  const firstAnswer = await first;
  fault = undefined;
  expect([second, firstAnswer.json]).toEqual([{ status: 503, json: unavailable }, unavailable]);
  expect(await small.post("kms", request)).toEqual(allowed);
  await small.close();
});

test("no JSON value is answered with a server error or an approval", async () => {
  const names = fc.constantFrom(
    "mrAggregated",
    "osImageHash",
    "deviceId",
    "appId",
    "composeHash",
    "tcbStatus",
    "advisoryIds",
    "teeVariant",
  );
  const twisted = fc.tuple(names, fc.jsonValue()).map(([name, value]) => ({ ...request, appId: "22".repeat(20), [name]: value }));
  const anything = fc.oneof(fc.jsonValue(), twisted);
  await fc.assert(
    fc.asyncProperty(anything, async (value) => {
      const { status, json } = await webhook.send("/bootAuth/app", jsonPost(JSON.stringify(value)));
      expect(status).toBeLessThan(500);
      expect(json).toMatchObject({ isAllowed: false });
    }),
    { numRuns: 300 },
  );
});

test("the log names neither the endpoint nor its words", () => {
  expect(webhook.entries.length).toBeGreaterThan(50);
  for (const entry of webhook.entries) expect(entry).not.toMatch(/s3cret|http|127\.0\.0\.1/);
});

async function drip(response: ServerResponse): Promise<void> {
  for (let sent = 0; sent < 40 && !response.destroyed; sent++) {
    response.write(" ");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  response.destroy();
}
