/** Questions that begin together over one HTTP request: who is asked what, whose error is whose, and endpoints that take no such batch. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createChainRpc } from "../../auth-eth/chain-rpc.ts";
import { createExchanger } from "../../auth-eth/exchange.ts";
import { apartMs, firstSlowMs } from "../../auth-eth/shared-trips.ts";
import { UnavailableError } from "../../auth-eth/unavailable.ts";
import { bodyOf } from "./support/webhook.ts";

interface Call {
  readonly id: number;
  readonly method: string;
  readonly params: readonly string[];
}
type Item = { readonly id: unknown; readonly result?: unknown; readonly error?: unknown };
type Endpoint = (calls: Call[], response: ServerResponse) => void;

/** The head and the policy's answer to that name. */
const questionAbout = (name: string) => [
  { method: "eth_getBlockByNumber", params: ["latest"] },
  { method: "eth_call", params: [name] },
];
const itemOf = ({ id, method, params }: Call): Item => ({ id, result: method === "eth_call" ? `about ${params[0]}` : "head" });
const answering =
  (edit: (items: Item[]) => unknown): Endpoint =>
  (calls, response) =>
    void response.end(JSON.stringify(edit(calls.map(itemOf))));
const honest = answering((items) => items);
const saying =
  (status: number, body = ""): Endpoint =>
  (_calls, response) =>
    void response.writeHead(status).end(body);
/** Takes what one question needs, and says that of more. */
const limited =
  (refuse: Endpoint): Endpoint =>
  (calls, response) =>
    (calls.length > 2 ? refuse : honest)(calls, response);

let endpoint: Endpoint;
let asked: Call[][];
let broken: number;
let apart: number;
let clock: number;
const exchanger = createExchanger();
const server = createServer(async (request, response) => {
  const calls = JSON.parse(await bodyOf(request)) as Call[];
  asked.push(calls);
  response.on("close", () => {
    if (!response.writableFinished) broken += 1;
  });
  endpoint(calls, response);
});
beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
beforeEach(() => {
  [endpoint, asked, broken, apart, clock] = [honest, [], 0, 0, 0];
});
afterAll(() => {
  exchanger.close();
  server.close();
});

function start(maxBatch = 100) {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const onApart = () => {
    apart += 1;
  };
  const rpc = createChainRpc({ url, name: "one", exchanger, maxBatch, now: () => clock, onApart });
  return (name: string, signal: AbortSignal = AbortSignal.timeout(2_000)) =>
    rpc.share(questionAbout(name), signal).then(
      (results) => results.join(", "),
      (error: unknown) => (error instanceof UnavailableError ? error.boundary : String(error)),
    );
}
const rightly = (...names: string[]) => names.map((name) => `head, about ${name}`);
const policyCalls = () =>
  asked.map((calls) => calls.filter(({ method }) => method === "eth_call").map(({ params }) => params[0]));

test("one request carries the questions of one turn, the head asked once and every policy call for itself", async () => {
  const ask = start();
  expect(await Promise.all([ask("a"), ask("b"), ask("b")])).toEqual(rightly("a", "b", "b"));
  expect(asked.map((calls) => calls.map(({ method }) => method))).toEqual([
    ["eth_getBlockByNumber", "eth_call", "eth_call", "eth_call"],
  ]);
});

test("answers may come in any order", async () => {
  endpoint = answering((items) => items.reverse());
  const ask = start();
  expect(await Promise.all([ask("a"), ask("b"), ask("c")])).toEqual(rightly("a", "b", "c"));
});

test("a question that begins after the request was sent is not answered by it", async () => {
  const ask = start();
  const held: (() => void)[] = [];
  endpoint = (calls, response) => void held.push(() => honest(calls, response));
  const first = [ask("a"), ask("b")];
  await expect.poll(() => held.length).toBe(1);
  const late = ask("late");
  held.shift()?.();
  expect(await Promise.all(first)).toEqual(rightly("a", "b"));
  await expect.poll(() => held.length).toBe(1);
  held.shift()?.();
  expect(await late).toBe("head, about late");
  expect(policyCalls()).toEqual([["a", "b"], ["late"]]);
});

test.each([
  ["rpc-reverted", 3],
  ["rpc-error", -32_000],
])("the error of one question (%s) is nobody else's", async (boundary, code) => {
  endpoint = answering((items) => items.map((item) => (item.result === "about b" ? { id: item.id, error: { code } } : item)));
  const ask = start();
  expect(await Promise.all([ask("a"), ask("b"), ask("c")])).toEqual(["head, about a", boundary, "head, about c"]);
  expect([asked.length, apart]).toEqual([1, 0]);
});

test("one that gives up leaves the others their request, and it ends with the last", async () => {
  const ask = start();
  const held: (() => void)[] = [];
  endpoint = (calls, response) => void held.push(() => honest(calls, response));
  const [one, two] = [new AbortController(), new AbortController()];
  const both = [ask("a", one.signal), ask("b", two.signal)];
  await expect.poll(() => held.length).toBe(1);
  one.abort();
  expect(await both[0]).toBe("rpc-timeout");
  held.shift()?.();
  expect(await both[1]).toBe("head, about b");
  expect([broken, apart]).toEqual([0, 1]); // so that the slow question of one does not use up the time of others again
  clock += firstSlowMs;
  const again = [ask("c", AbortSignal.timeout(50)), ask("d", AbortSignal.timeout(100))];
  expect(await Promise.all(again)).toEqual(["rpc-timeout", "rpc-timeout"]);
  await expect.poll(() => broken).toBe(1);
  expect(policyCalls()).toEqual([
    ["a", "b"],
    ["c", "d"],
  ]);
});

test("an endpoint that is slow is asked one question a request for some seconds, longer each time until it is in time again", async () => {
  const ask = start();
  const slowly = async () => {
    endpoint = () => undefined;
    const given = new AbortController();
    const all = ["a", "b", "c"].map((name) => ask(name, given.signal));
    await expect.poll(() => asked.length).toBeGreaterThan(0);
    given.abort();
    expect(await Promise.all(all)).toEqual(Array(3).fill("rpc-timeout"));
    const sizes = policyCalls().map((names) => names.length);
    [endpoint, asked] = [honest, []];
    return sizes;
  };
  const sizesAfter = async (ms: number) => {
    clock += ms;
    expect(await Promise.all([ask("a"), ask("b"), ask("c")])).toEqual(rightly("a", "b", "c"));
    const sizes = policyCalls().map((names) => names.length);
    asked = [];
    return sizes;
  };
  const [together, alone] = [[3], [1, 1, 1]];
  for (const ms of [firstSlowMs, 2 * firstSlowMs, 4 * firstSlowMs]) {
    expect(await slowly()).toEqual(together);
    expect(await sizesAfter(ms - 1)).toEqual(alone);
    clock += 1;
  }
  expect(apart).toBe(3);
  expect(await sizesAfter(0)).toEqual(together);
  expect(await slowly()).toEqual(together);
  expect(await sizesAfter(firstSlowMs)).toEqual(together);
  for (let round = 0; round < 10; round += 1) {
    expect(await slowly()).toEqual(together);
    clock += apartMs;
  }
  expect(await slowly()).toEqual(together);
  expect(await sizesAfter(apartMs - 1)).toEqual(alone);
  expect(await sizesAfter(1)).toEqual(together);
});

test("requests that are slow at the same time count as one", async () => {
  const ask = start(3);
  endpoint = () => undefined;
  const given = new AbortController();
  const all = ["a", "b", "c", "d", "e", "f"].map((name) => ask(name, given.signal));
  await expect.poll(() => asked.length).toBe(3);
  given.abort();
  await Promise.all(all);
  [endpoint, asked, clock] = [honest, [], firstSlowMs];
  await Promise.all([ask("a"), ask("b")]);
  expect([policyCalls(), apart]).toEqual([[["a", "b"]], 1]);
});

test("one that gave up before the request is not asked at all", async () => {
  const ask = start();
  const gone = new AbortController();
  const both = [ask("a", gone.signal), ask("b")];
  gone.abort();
  expect(await Promise.all(both)).toEqual(["rpc-timeout", "head, about b"]);
  expect(await ask("c", AbortSignal.abort())).toBe("rpc-timeout");
  expect(policyCalls()).toEqual([["b"]]);
});

test("requests keep to the limit of calls and to that of bytes, but for one question alone", async () => {
  const small = start(3);
  expect(await Promise.all([small("a"), small("b"), small("c")])).toEqual(rightly("a", "b", "c"));
  expect(policyCalls().sort()).toEqual([["a", "b"], ["c"]]);
  asked = [];
  const ask = start(1);
  expect(await Promise.all([ask("a"), ask("b")])).toEqual(rightly("a", "b"));
  expect(policyCalls().sort()).toEqual([["a"], ["b"]]);
  asked = [];
  const long = (digit: string) => digit.repeat(100 * 1024);
  const wide = start();
  await Promise.all(["1", "2", "3"].map((digit) => wide(long(digit))));
  expect(
    policyCalls()
      .map((names) => names.length)
      .sort(),
  ).toEqual([1, 2]);
  expect(await wide(long("4").repeat(3))).toContain("head, about 4");
});

test.each<[how: string, refuse: Endpoint]>([
  ["413", saying(413)],
  ["400 with an error object", saying(400, '{"jsonrpc":"2.0","error":{"code":-32600},"id":null}')],
  ["500", saying(500)],
  ["an error object", saying(200, '{"jsonrpc":"2.0","error":{"code":-32600},"id":null}')],
  ["one error in an array", saying(200, '[{"jsonrpc":"2.0","error":{"code":-32600},"id":0}]')],
  ["an error for each call", answering((items) => items.map(({ id }) => ({ id, error: { code: -32_005 } })))],
  ["the first answers only", answering((items) => items.slice(0, 2))],
  ["one id twice", answering((items) => items.map((item, i) => (i === 2 ? { ...item, id: 1 } : item)))],
  ["an id that was not asked", answering((items) => items.map((item, i) => (i === 2 ? { ...item, id: 7 } : item)))],
  ["an answer too many", answering((items) => [...items, { id: 0, result: "head" }])],
  ["too much", saying(200, " ".repeat(3 * 1024 * 1024))],
])(
  "an endpoint that says %s to a batch of several is asked one question a request, at once and for a while",
  async (_how, refuse) => {
    endpoint = limited(refuse);
    const ask = start();
    const all = () => Promise.all([ask("a"), ask("b"), ask("c")]);
    expect(await all()).toEqual(rightly("a", "b", "c"));
    expect(policyCalls().map((names) => names.length)).toEqual([3, 1, 1, 1]);
    expect(apart).toBe(1);
    asked = [];
    clock += apartMs - 1;
    expect(await all()).toEqual(rightly("a", "b", "c"));
    expect(policyCalls().map((names) => names.length)).toEqual([1, 1, 1]);
    [asked, endpoint, clock] = [[], honest, clock + 1];
    expect(await all()).toEqual(rightly("a", "b", "c"));
    expect(policyCalls().map((names) => names.length)).toEqual([3]);
  },
);

test.each([429, 503])("an endpoint that counts requests (%i) is not asked more of them", async (status) => {
  endpoint = saying(status);
  const ask = start();
  expect(await Promise.all([ask("a"), ask("b")])).toEqual(["rpc-status", "rpc-status"]);
  endpoint = honest;
  expect(await Promise.all([ask("a"), ask("b")])).toEqual(rightly("a", "b"));
  expect(policyCalls()).toEqual([
    ["a", "b"],
    ["a", "b"],
  ]);
});

test("an endpoint that answers nobody is no endpoint that wants small requests", async () => {
  endpoint = saying(500);
  const ask = start();
  expect(await Promise.all([ask("a"), ask("b")])).toEqual(["rpc-status", "rpc-status"]);
  endpoint = honest;
  await Promise.all([ask("a"), ask("b")]);
  expect(policyCalls().at(-1)).toEqual(["a", "b"]);
  expect(apart).toBe(0);
});
