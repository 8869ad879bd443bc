/** One endpoint by name: what is measured of each round trip, and that no part of its URL but the host is ever told. */
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createChainRpcs, type RpcSample } from "../../auth-eth/chain-rpc.ts";
import { createExchanger } from "../../auth-eth/exchange.ts";
import { UnavailableError } from "../../auth-eth/unavailable.ts";

const exchanger = createExchanger();
let answer: RequestListener = (_request, response) => void response.end();
const server = createServer((request, response) => answer(request, response));
let host: string;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  exchanger.close();
  server.close();
});

test("endpoints are named by host, and by their place where a host comes again", () => {
  const urls = ["https://user:s3cret@a/s3cret", "https://b:8545", "https://a/other", "http://a/third"];
  expect(createChainRpcs(urls, { exchanger, maxBatch: 16 }).map(({ name }) => name)).toEqual(["a", "b:8545", "a#2", "a#3"]);
});

test.each<[outcome: RpcSample["outcome"], RequestListener]>([
  ["ok", (_request, response) => void response.end('[{"jsonrpc":"2.0","id":0,"result":"0x1"}]')],
  ["rpc-status", (_request, response) => void response.writeHead(429).end("s3cret")],
  ["rpc-garbage", (_request, response) => void response.end("s3cret")],
  ["rpc-error", (_request, response) => void response.end('[{"id":0,"error":{"code":-32005,"message":"s3cret"}}]')],
  ["rpc-reverted", (_request, response) => void response.end('[{"id":0,"error":{"code":3,"message":"s3cret"}}]')],
  ["rpc-network", (_request, response) => void response.destroy()],
  ["rpc-timeout", () => undefined],
])("a round trip that ends %s is measured as that", async (outcome, listener) => {
  answer = listener;
  const samples: RpcSample[] = [];
  const observe = (sample: RpcSample) => void samples.push(sample);
  const [rpc] = createChainRpcs([`http://user:s3cret@${host}/s3cret`], { exchanger, maxBatch: 16, observe });
  const results = rpc?.batch([{ method: "eth_chainId", params: [] }], AbortSignal.timeout(300));
  const error = await results?.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error instanceof UnavailableError ? error.boundary : "ok").toBe(outcome);
  expect(samples).toEqual([{ endpoint: host, seconds: expect.any(Number), outcome }]);
  expect(`${error} ${JSON.stringify(error)} ${JSON.stringify(samples)}`).not.toContain("s3cret");
});
