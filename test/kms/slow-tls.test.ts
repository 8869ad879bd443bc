/** Slow and idle clients inside TLS: no byte of theirs extends a limit, and nobody waits for them. */
import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { afterEach, expect, test } from "vitest";
import { createFramedApp, serveHealth } from "../../kms/http/framework.ts";
import { type Listener, type ListenerLimits, listen, listenerLimits } from "../../kms/http/listeners.ts";
import { ask, rawConnection } from "../support/http-client.ts";
import { silentLog } from "../support/silent-log.ts";
import { testAuthority } from "../support/test-certificates.ts";

const insecure = { rejectUnauthorized: false, agent: false };
const idle = 1_000;

let listener: Listener;
let drip: NodeJS.Timeout | undefined;
afterEach(async () => {
  clearInterval(drip);
  await listener.close();
});

async function start(limits: Partial<ListenerLimits>): Promise<string> {
  const app = createFramedApp(silentLog());
  serveHealth(app);
  const { keyPem, certPem } = await (await testAuthority("CA")).issue("localhost");
  const tls = { key: keyPem, cert: certPem };
  listener = await listen(app, { hostname: "127.0.0.1", port: 0, tls, limits: { checkMs: 50, ...limits } });
  return listener.url;
}

function shaken(url: string): TLSSocket {
  const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1", rejectUnauthorized: false });
  return socket.on("error", () => undefined).resume();
}

/** Sends one byte after another until the other side ends the connection. */
async function dripping(socket: ReturnType<typeof rawConnection>, bytes: Buffer): Promise<number> {
  const began = performance.now();
  let sent = 0;
  socket.on("error", () => undefined).resume();
  drip = setInterval(() => {
    if (socket.writable) socket.write(bytes.subarray(sent % bytes.length, (sent++ % bytes.length) + 1));
  }, 20);
  await new Promise((resolve) => socket.once("close", resolve)); // `once` of node:events would fail on a reset
  return performance.now() - began;
}

test("a handshake that comes a byte at a time is cut at its limit", async () => {
  const url = await start({ handshakeMs: 400 });
  // a record of 16,000 bytes that a ClientHello of that size would begin with
  const hello = Buffer.concat([Buffer.from("1603013e800100", "hex"), Buffer.alloc(1_000)]);
  expect(await dripping(rawConnection(url), hello)).toBeLessThan(5_000);
  expect(await ask(url, "/health", { tls: insecure })).toMatchObject({ status: 200 });
});

test.each([
  ["headers", "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "],
  ["a body", "POST /prpc/GetMeta HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n"],
])("%s inside TLS that come a byte at a time are cut at their limit", async (_what, head) => {
  const url = await start({ headersMs: 400, requestMs: 600 });
  const socket = shaken(url);
  await once(socket, "secureConnect");
  socket.write(head);
  expect(await dripping(socket, Buffer.from("x"))).toBeLessThan(5_000);
  expect(await ask(url, "/health", { tls: insecure })).toMatchObject({ status: 200 });
});

test("a thousand connections that finished their handshake and say nothing keep nobody waiting, and end", async () => {
  expect(idle).toBeLessThan(listenerLimits.connections);
  const url = await start({ handshakeMs: 30_000, headersMs: 8_000 });
  const sockets = Array.from({ length: idle }, () => shaken(url));
  const ended = Promise.all(sockets.map((socket) => once(socket, "close")));
  await Promise.all(sockets.map((socket) => once(socket, "secureConnect")));
  const began = performance.now();
  expect(await ask(url, "/health", { tls: insecure })).toMatchObject({ status: 200 });
  expect(performance.now() - began).toBeLessThan(1_000);
  await ended;
});
