/** The chain backend as the webhook's main file makes it: what its log says of endpoints. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { bootInfoSchema } from "../../auth-eth/api.ts";
import { type Backend, createBackend } from "../../auth-eth/backend.ts";
import { loadConfig } from "../../auth-eth/config.ts";
import { createMetrics } from "../../auth-eth/metrics.ts";
import { hashOf, kmsRequest, startChain, type TestChain } from "./support/chain.ts";
import { changedHeader, hanging, type RpcStub, startRpcStub } from "./support/rpc-stub.ts";

const boot = bootInfoSchema.parse(kmsRequest);
let chain: TestChain;
let stubs: RpcStub[];
let backend: Backend;
let warnings: object[];

beforeAll(async () => {
  chain = await startChain();
  stubs = await Promise.all([0, 1, 2].map(() => startRpcStub(chain.rpcUrl)));
});
beforeEach(() => {
  for (const stub of stubs) stub.fault = undefined;
  warnings = [];
});
afterAll(async () => {
  for (const stub of stubs) await stub.close();
  await chain.close();
});

function start(urls: readonly string[]): void {
  const env = {
    ETH_RPC_URL: urls.join(","),
    KMS_CONTRACT_ADDR: chain.kmsAuth.address,
    AUTH_DEADLINE_MS: "2000",
    ETH_RPC_MAX_BATCH: "100",
  };
  const log = { info: () => undefined, warn: (fields: object, message: string) => void warnings.push({ ...fields, message }) };
  backend = createBackend(loadConfig(env).backend, { metrics: createMetrics(), log, maxConcurrent: 8 });
}
const decide = (count: number) =>
  Promise.allSettled(Array.from({ length: count }, () => backend.authority.decide("kms", boot))).then((all) =>
    all.map(({ status }) => status),
  );

test("says once, by its host alone, that an endpoint is asked one decision a request", async () => {
  const [stub] = stubs;
  if (stub === undefined) throw new Error("no endpoint");
  const { host } = new URL(stub.url);
  start([`http://user:s3cret@${host}/v1/s3cret?key=s3cret`]);
  let largest = 0;
  stub.fault = async (calls, response, forward) => {
    largest = Math.max(largest, calls.length);
    response.end(JSON.stringify(await forward()));
  };
  expect(await decide(1)).toEqual(["fulfilled"]);
  const ofOne = largest;
  stub.fault = async (calls, response, forward) => {
    if (calls.length > ofOne) response.writeHead(413).end();
    else response.end(JSON.stringify(await forward()));
  };
  for (let round = 0; round < 3; round += 1) expect(await decide(3)).toEqual(Array(3).fill("fulfilled"));
  expect(warnings).toEqual([
    { endpoint: host, maxBatch: 100, message: "an endpoint is asked one decision a request for a while" },
  ]);
  backend.close();
});

test("says the same of one that was late, and of one that tells another story that it is not with the quorum", async () => {
  const [honest, late, liar] = stubs;
  if (honest === undefined || late === undefined || liar === undefined) throw new Error("need three endpoints");
  start([honest.url, late.url, liar.url]);
  late.fault = hanging;
  await decide(3);
  liar.fault = changedHeader(() => ({ hash: hashOf("e") }));
  late.fault = undefined;
  await expect.poll(() => warnings).toHaveLength(1);
  expect(warnings[0]).toMatchObject({
    endpoint: new URL(late.url).host,
    message: expect.stringContaining("one decision a request"),
  });
  expect(await decide(1)).toEqual(["fulfilled"]);
  await expect
    .poll(() => warnings.at(-1))
    .toEqual({
      endpoint: new URL(liar.url).host,
      boundary: "quorum",
      message: "an endpoint is not with the quorum",
    });
  backend.close();
});
