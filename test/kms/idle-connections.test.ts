/** A thousand strangers that connect and say nothing, or say it slowly: others are answered meanwhile, and the strangers are cut. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createFramedApp, serveHealth } from "../../kms/http/framework.ts";
import { type Listener, listen, listenerLimits } from "../../kms/http/listeners.ts";
import { ask, rawConnection } from "../support/http-client.ts";
import { silentLog } from "../support/silent-log.ts";
import { testAuthority } from "../support/test-certificates.ts";

const STRANGERS = 1_000;
const cutMs = 4_000;
const limits = { handshakeMs: cutMs, headersMs: cutMs, checkMs: 100 };

let listener: Listener;
let drip: NodeJS.Timeout | undefined;
afterEach(async () => {
  clearInterval(drip);
  await listener.close();
});

async function connectAll(url: string): Promise<{ sockets: Socket[]; ended: Promise<unknown> }> {
  const sockets = Array.from({ length: STRANGERS }, () =>
    rawConnection(url)
      .on("error", () => undefined)
      .resume(),
  );
  const ended = Promise.all(sockets.map((socket) => once(socket, "close")));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  return { sockets, ended };
}

async function start(withTls: boolean): Promise<string> {
  const app = createFramedApp(silentLog());
  serveHealth(app);
  const { keyPem, certPem } = await (await testAuthority("CA")).issue("localhost");
  const tls = withTls ? { tls: { key: keyPem, cert: certPem } } : {};
  listener = await listen(app, { hostname: "127.0.0.1", port: 0, limits, ...tls });
  return listener.url;
}

test.each([
  ["in a handshake that never comes", true, undefined],
  ["in the headers of a request, a byte at a time", false, "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "],
])("a thousand connections %s keep nobody waiting, and end", async (_where, withTls, head) => {
  expect(STRANGERS).toBeLessThan(listenerLimits.connections);
  const url = await start(withTls);
  const { sockets, ended } = await connectAll(url);
  if (head !== undefined) {
    for (const socket of sockets) socket.write(head);
    drip = setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write("x");
    }, 500);
  }
  for (let count = 0; count < 5; count += 1) {
    const started = performance.now();
    expect(await ask(url, "/health", { tls: { rejectUnauthorized: false, agent: false } })).toMatchObject({ status: 200 });
    expect(performance.now() - started).toBeLessThan(cutMs - 1_000); // not until they are cut
  }
  await ended;
});
