/** How an answer is read from one endpoint: in one round trip, repaired by one more attempt, and always at one block. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { hashOf, kmsRequest as request, startChain, type TestChain } from "./support/chain.ts";
import { changedHeader, dead, type Fault, hanging, type RpcStub, startRpcStub } from "./support/rpc-stub.ts";
import { startWebhook } from "./support/webhook.ts";

let chain: TestChain;
let stub: RpcStub;
let webhook: Awaited<ReturnType<typeof startWebhook>>;
const env = () => ({ ETH_RPC_URL: stub.url, KMS_CONTRACT_ADDR: chain.kmsAuth.address, AUTH_DEADLINE_MS: "1000" });

beforeAll(async () => {
  chain = await startChain();
  await chain.allowKms();
  stub = await startRpcStub(chain.rpcUrl);
  webhook = await startWebhook(env());
});
afterEach(() => void Object.assign(stub, { fault: undefined, trips: 0, asked: [] }));
afterAll(async () => {
  await webhook.close();
  await stub.close();
  await chain.close();
});

const blocksOfCalls = () => stub.asked.filter(({ method }) => method === "eth_call").map(({ params }) => params[1]);
/** The first trips are broken, the later ones honest. */
const atFirst = (count: number, fault: Fault): Fault => {
  let left = count;
  return async (calls, response, forward) => {
    if (left-- > 0) await fault(calls, response, forward);
    else response.end(JSON.stringify(await forward()));
  };
};

test("decides in one round trip on one socket, and names the block", async () => {
  stub.connections = 0;
  const fresh = await startWebhook(env());
  await fresh.ask("kms", request);
  expect([stub.trips, stub.connections]).toEqual([1, 1]);
  const { block } = await fresh.ask("kms", request);
  const [number, hash, timestamp] = await headOf();
  expect(block).toEqual({ number, hash, timestamp });
  expect([stub.trips, stub.connections]).toEqual([2, 1]);
  await fresh.close();
});

test.each([
  ["dead", dead],
  ["silent", hanging],
])("one trip that is %s is repaired by the retry", async (_name, fault) => {
  stub.fault = atFirst(1, fault);
  expect((await webhook.ask("kms", request)).code).toBe("allowed");
});

test.each([
  ["number", { number: "0x1" }],
  ["parent", { parentHash: hashOf("d") }],
  ["time", { timestamp: "0x6b000000" }],
])("asks again at the hash when header and reads disagree in %s", async (_name, changes) => {
  stub.fault = atFirst(
    1,
    changedHeader(() => changes),
  );
  const { code, block } = await webhook.ask("kms", request);
  expect(code).toBe("allowed");
  const pinned = { blockHash: block?.hash, requireCanonical: true };
  expect(blocksOfCalls()).toEqual(["latest", pinned, pinned]);
});

test("asks a node that cannot run the program call by call", async () => {
  stub.fault = async (calls, response, forward) => {
    const isProgram = (id: number) =>
      calls.some((call) => call.id === id && call.method === "eth_call" && !("to" in Object(call.params[0])));
    const refused = (id: number) => ({ id, error: { code: 3, message: "no" } });
    response.end(JSON.stringify((await forward()).map((answer) => (isProgram(answer.id) ? refused(answer.id) : answer))));
  };
  expect((await webhook.ask("kms", request)).code).toBe("allowed");
});

test("a block that was replaced between header and reads is no answer, the next one is", async () => {
  stub.fault = atFirst(
    2,
    changedHeader(() => ({ hash: hashOf("e"), parentHash: hashOf("d") })),
  );
  expect((await webhook.ask("kms", request)).code).toBe("unavailable.chain-head");
  expect((await webhook.ask("kms", request)).code).toBe("allowed");
});

test("reads at the head minus the confirmations", async () => {
  const confirmed = await startWebhook({ ...env(), ETH_FINALITY_CONFIRMATIONS: "1" });
  await chain.kmsAuth.write.removeKmsDevice([request.deviceId]);
  expect((await confirmed.ask("kms", request)).code).toBe("allowed");
  const [head] = await headOf();
  expect(blocksOfCalls()).toEqual([`0x${(head - 1).toString(16)}`]);
  await chain.kmsAuth.write.addKmsDevice([request.deviceId]);
  await confirmed.close();
});

test("pins the first chain that it sees, but not by the word of a chain where the contract did not answer", async () => {
  const fresh = await startWebhook(env());
  stub.fault = atFirst(2, async (calls, response, forward) => {
    const renamed = (await forward()).map((answer, i) =>
      calls[i]?.method === "eth_chainId" ? { ...answer, result: "0x1" } : answer,
    );
    response.end(JSON.stringify(renamed));
  });
  expect((await fresh.ask("kms", request)).code).toBe("unavailable.chain-id");
  stub.fault = undefined;
  expect((await fresh.ask("kms", request)).code).toBe("allowed");
  await fresh.close();
});

test("refuses at once what is over the limit of running requests", async () => {
  const small = await startWebhook({ ...env(), AUTH_MAX_CONCURRENT: "1" });
  stub.fault = hanging;
  const first = small.ask("kms", request);
  await expect.poll(() => stub.trips).toBeGreaterThan(0);
  expect(await small.ask("kms", request)).toMatchObject({ isAllowed: false, code: "unavailable.overloaded" });
  expect((await first).code).toBe("unavailable.rpc-timeout");
  stub.fault = undefined;
  expect((await small.ask("kms", request)).code).toBe("allowed");
  await small.close();
});

async function headOf(): Promise<[number: number, hash: string, timestamp: number]> {
  const head = (await chain.rpc("eth_getBlockByNumber", ["latest", false])) as Record<"number" | "hash" | "timestamp", string>;
  return [Number(head.number), head.hash, Number(head.timestamp)];
}
