/** The kept-alive transport: reuse, its race with a server that hangs up, limits of time and size, and what the environment cannot change. */
import { execFile } from "node:child_process";
import { createServer, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { promisify } from "node:util";
import { afterEach, expect, test } from "vitest";
import { createExchanger, type Exchange, type ExchangeError, endpointOf } from "../../auth-eth/exchange.ts";
import { testAuthority } from "../support/test-certificates.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

function exchanger(maxSockets?: number) {
  const made = createExchanger(maxSockets === undefined ? {} : { maxSockets });
  closing.push(() => made.close());
  return made;
}
const input = (ms = 2_000, more: Partial<Exchange> = {}): Exchange => ({
  method: "POST",
  body: "question",
  signal: AbortSignal.timeout(ms),
  maxResponseBytes: 1_000,
  ...more,
});
async function listening(server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => void sockets.add(socket));
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
const serve = async (listener: RequestListener) => endpointOf(`http://${await listening(createServer(listener))}/path?q=1`);
/** A server below HTTP: each entry is what one connection does with each of its requests. */
async function scripted(...connections: ((socket: Socket, request: number) => void)[]) {
  let opened = 0;
  const server = createTcpServer((socket) => {
    const act = connections[opened++];
    let requests = 0;
    socket.on("error", () => undefined);
    socket.on("data", () => act?.(socket, ++requests));
  });
  return { endpoint: endpointOf(`http://${await listening(server)}`), opened: () => opened };
}
const ok = (socket: Socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
const text = ({ body }: { body: Uint8Array }) => Buffer.from(body).toString();
const failure = (work: Promise<unknown>): Promise<ExchangeError> =>
  work.then(
    () => expect.unreachable(),
    (error: ExchangeError) => error,
  );

test("sends method, path, headers, body length and credentials, and reads the answer whatever its status", async () => {
  const seen: unknown[] = [];
  const endpoint = await serve((request, response) => {
    const { method, url, headers } = request;
    seen.push([method, url, headers["content-length"], headers.authorization, headers["x-a"], headers["accept-encoding"]]);
    response.writeHead(302, { location: "/elsewhere" }).end("moved");
  });
  const withSecret = endpointOf(endpoint.url.replace("http://", "http://us%40er:p%C3%A9@"));
  expect(withSecret.url).toBe(endpoint.url);
  const answer = await exchanger().exchange(withSecret, input(2_000, { headers: { "x-a": "b" } }));
  expect([answer.status, text(answer)]).toEqual([302, "moved"]);
  const basic = `Basic ${Buffer.from("us@er:pé").toString("base64")}`;
  expect(seen).toEqual([["POST", "/path?q=1", "8", basic, "b", undefined]]);
});

test("uses one socket for one request after the other, and no more than allowed at once", async () => {
  let connections = 0;
  let running = 0;
  let most = 0;
  const server = createServer((_request, response) => {
    most = Math.max(most, ++running);
    setTimeout(() => {
      running -= 1;
      response.end("ok");
    }, 5);
  });
  server.on("connection", () => {
    connections += 1;
  });
  const endpoint = endpointOf(`http://${await listening(server)}`);
  const shared = exchanger(3);
  for (let i = 0; i < 5; i++) await shared.exchange(endpoint, input());
  expect(connections).toBe(1);
  await Promise.all(Array.from({ length: 20 }, () => shared.exchange(endpoint, input())));
  expect([connections, most]).toEqual([3, 3]);
});

test("asks once more, on a fresh socket, when a kept one was ended under the question", async () => {
  const hangUp = (socket: Socket, request: number) => (request === 1 ? ok(socket) : socket.resetAndDestroy());
  const { endpoint, opened } = await scripted(hangUp, ok);
  const shared = exchanger();
  await shared.exchange(endpoint, input());
  expect(text(await shared.exchange(endpoint, input()))).toBe("ok");
  expect(opened()).toBe(2);
});

test.each<[string, boolean, (socket: Socket, request: number) => void]>([
  ["a fresh socket was ended", true, (socket) => socket.resetAndDestroy()],
  ["the fresh one was ended too", false, (socket, request) => (request === 1 ? ok(socket) : socket.resetAndDestroy())],
  [
    "a byte of the answer had come",
    false,
    (socket, request) => (request === 1 ? ok(socket) : socket.write("H", () => setTimeout(() => socket.resetAndDestroy(), 20))),
  ],
  [
    "half of the answer had come",
    false,
    (socket, request) => (request === 1 ? ok(socket) : socket.end("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")),
  ],
])("fails when %s, without a third question", async (name, isRepeatable, act) => {
  const { endpoint, opened } = await scripted(act, (socket) => socket.resetAndDestroy(), ok, ok);
  const shared = exchanger();
  if (!name.startsWith("a fresh")) await shared.exchange(endpoint, input());
  const error = await failure(shared.exchange(endpoint, input()));
  expect(error).toMatchObject({ kind: "network", isRepeatable });
  expect(opened()).toBe(name.startsWith("the fresh") ? 2 : 1);
});

test("a refused connection may be tried again", async () => {
  const error = await failure(exchanger().exchange(endpointOf("http://127.0.0.1:1"), input()));
  expect(error).toMatchObject({ kind: "network", isRepeatable: true });
});

const drip: RequestListener = (_request, response) => {
  const timer = setInterval(() => response.write("."), 20);
  response.on("close", () => clearInterval(timer));
};
test.each<[string, RequestListener]>([
  ["nothing comes", () => undefined],
  ["bytes drip", drip],
  ["only the head comes", (_request, response) => void response.writeHead(200).flushHeaders()],
])("ends in time when %s", async (_name, listener) => {
  const endpoint = await serve(listener);
  const start = performance.now();
  const error = await failure(exchanger().exchange(endpoint, input(200)));
  expect(error).toMatchObject({ kind: "timeout", isRepeatable: false });
  expect(performance.now() - start).toBeLessThan(5_000); // and not never
});

test("waits for a socket no longer than the signal", async () => {
  const endpoint = await serve(() => undefined);
  const shared = exchanger(1);
  const errors = await Promise.all([1, 2].map(() => failure(shared.exchange(endpoint, input(100)))));
  expect(errors.map(({ kind }) => kind)).toEqual(["timeout", "timeout"]);
  const aborted = input(2_000, { signal: AbortSignal.abort() });
  expect((await failure(shared.exchange(endpoint, aborted))).kind).toBe("timeout");
});

test.each([
  ["announced", { "content-length": "1001" }],
  ["chunked", {}],
])("refuses a byte too many, %s", async (_name, headers) => {
  const endpoint = await serve((_request, response) => void response.writeHead(200, headers).end("x".repeat(1001)));
  expect((await failure(exchanger().exchange(endpoint, input()))).kind).toBe("too-large");
  expect((await exchanger().exchange(endpoint, input(2_000, { maxResponseBytes: 1001 }))).body).toHaveLength(1001);
});

test("leaves an answer encoded as the server encoded it", async () => {
  const endpoint = await serve((_request, response) => void response.writeHead(200, { "content-encoding": "gzip" }).end("raw"));
  expect(text(await exchanger().exchange(endpoint, input()))).toBe("raw");
});

test("heeds no proxy and no switch that turns certificates off", async () => {
  const plain = await serve((_request, response) => void response.end("ok"));
  const { certPem: cert, keyPem: key } = await (await testAuthority("stranger")).issue("localhost", ["127.0.0.1"]);
  const secure = await listening(createTlsServer({ key, cert }, (_request, response) => void response.end("ok")));
  const program = `
    import { createExchanger, endpointOf } from ${JSON.stringify(new URL("../../auth-eth/exchange.ts", import.meta.url).href)};
    const input = { method: "POST", body: "", signal: AbortSignal.timeout(5000), maxResponseBytes: 9 };
    for (const url of process.argv.slice(1)) {
      console.log(await createExchanger().exchange(endpointOf(url), input).then(({ status }) => status, ({ kind }) => kind));
    }`;
  const nowhere = "http://127.0.0.1:1";
  const env = { NODE_USE_ENV_PROXY: "1", HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere, NODE_TLS_REJECT_UNAUTHORIZED: "0" };
  const args = ["--input-type=module", "--eval", program, plain.url, `https://${secure}`];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  expect(stdout).toBe("200\nnetwork\n");
});

test("closes its sockets, ends what runs and takes no more", async () => {
  const server = createServer((_request, response) => void (_request.url === "/hang" ? undefined : response.end("ok")));
  const base = `http://${await listening(server)}`;
  const shared = createExchanger();
  await shared.exchange(endpointOf(base), input());
  const running = failure(shared.exchange(endpointOf(`${base}/hang`), input()));
  await expect.poll(() => new Promise((resolve) => server.getConnections((_error, count) => resolve(count)))).toBe(1);
  shared.close();
  expect((await running).kind).toBe("network");
  expect((await failure(shared.exchange(endpointOf(base), input()))).kind).toBe("network");
  await expect.poll(() => new Promise((resolve) => server.getConnections((_error, count) => resolve(count)))).toBe(0);
});

test("reads host, port and path of every kind of URL", () => {
  expect(endpointOf("https://[::1]/a b?c=d#e")).toMatchObject({
    isTls: true,
    authorization: undefined,
    target: { hostname: "::1", port: 443, path: "/a%20b?c=d" },
  });
  expect(endpointOf("http://h:81")).toMatchObject({ isTls: false, target: { hostname: "h", port: 81, path: "/" } });
});
