import { once } from "node:events";
import { Agent } from "node:http";
import { connect } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { createFramedApp, serveHealth } from "../../kms/http/framework.ts";
import { type Listener, type ListenerLimits, type ListenOptions, listen, listenerLimits } from "../../kms/http/listeners.ts";
import { createPrpcEndpoint } from "../../kms/http/prpc.ts";
import { ask, rawConnection, untilClosed } from "../support/http-client.ts";
import { type LogLine, silentLog } from "../support/silent-log.ts";
import { testAuthority } from "../support/test-certificates.ts";

let listener: Listener | undefined;
let release: () => void;
let lines: LogLine[];

/** `/slow` answers when released; `/prpc/…` reads bodies. */
async function start(limits: Partial<ListenerLimits> = {}, options: Partial<ListenOptions> = {}): Promise<string> {
  const gate = Promise.withResolvers<void>();
  release = gate.resolve;
  lines = [];
  const log = silentLog(lines);
  const app = createFramedApp(log);
  serveHealth(app);
  const answer = createPrpcEndpoint({ prefix: "KMS.", rpcs: [], log });
  app.get("/slow", async (c) => {
    await gate.promise;
    return c.body("done");
  });
  app.post("/prpc/:method", (c) => answer(c.env.incoming, c.req.param("method"), async () => undefined));
  listener = await listen(app, { hostname: "127.0.0.1", port: 0, limits: { checkMs: 20, ...limits }, log, ...options });
  return listener.url;
}

const close = () => listener?.close() ?? Promise.resolve();
const seconds = async (work: () => Promise<unknown>) => {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
};

afterEach(async () => {
  release();
  await close();
});

describe("limits on a stranger", () => {
  test("headers that do not end are cut", async () => {
    const url = await start({ headersMs: 100 });
    expect(await untilClosed(url, "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")).toMatch(/^HTTP\/1.1 408 /);
  });

  test("a body that does not end is cut", async () => {
    const url = await start({ requestMs: 150, headersMs: 100 });
    const head = "POST /prpc/GetMeta?json HTTP/1.1\r\nHost: x\r\n";
    const took = await seconds(async () => {
      await untilClosed(url, `${head}Content-Length: 100\r\n\r\n{`);
      await untilClosed(url, `${head}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n`);
    });
    expect(took).toBeLessThan(5);
    expect(await ask(url, "/health")).toMatchObject({ status: 200 });
  });

  test("an idle connection is ended", async () => {
    const url = await start({ keepAliveMs: 100 });
    expect(await untilClosed(url, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")).toContain("OK");
  });

  test("a connection that never says a word is ended", async () => {
    const url = await start({ headersMs: 100 });
    expect(await seconds(() => untilClosed(url, ""))).toBeLessThan(5);
  });

  test("a handshake that does not end is cut", async () => {
    const { keyPem, certPem } = await (await testAuthority("CA")).issue("localhost");
    const url = await start({ handshakeMs: 100 }, { tls: { key: keyPem, cert: certPem } });
    expect(await seconds(() => untilClosed(url, "\u0016"))).toBeLessThan(5);
  });

  test("headers over the limit are refused", async () => {
    const url = await start({ headerBytes: 4096 });
    expect(await ask(url, `/${"x".repeat(5000)}`)).toMatchObject({ status: 431 });
  });

  test("connections over the limit are dropped and logged, and places come free again", async () => {
    const url = await start({ connections: 2 });
    const held = [rawConnection(url), rawConnection(url)];
    await Promise.all(held.map((socket) => once(socket, "connect")));
    await expect(ask(url, "/health")).rejects.toThrow();
    expect(lines).toContainEqual({ level: "warn", message: "connection dropped: too many", fields: { limit: 2 } });
    for (const socket of held) socket.destroy();
    await Promise.all(held.map((socket) => once(socket, "close")));
    await expect
      .poll(() =>
        ask(url, "/health").then(
          ({ status }) => status,
          () => 0,
        ),
      )
      .toBe(200);
  });

  test("every limit is a positive number", () => {
    for (const limit of Object.values(listenerLimits)) expect(limit).toBeGreaterThan(0);
  });

  test.each([
    "garbage\r\n\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    "POST /prpc/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
  ])("%j is refused and the listener lives on", async (text) => {
    const url = await start();
    expect(await untilClosed(url, text)).toMatch(/^HTTP\/1.1 (400|505) /);
    expect(await ask(url, "/health")).toMatchObject({ status: 200 });
  });

  test("any Host header is accepted", async () => {
    const url = await start();
    for (const Host of ["kms.example.com:12001", "2f7661722f72756e2f782e736f636b:0", "a_b", "[::1]:8000"]) {
      expect(await ask(url, "/health", { headers: { Host } })).toMatchObject({ status: 200 });
    }
  });
});

describe("TLS", () => {
  test("an unfinished client does not keep others waiting, and HTTP on the TLS port gets nothing", async () => {
    const { keyPem, certPem } = await (await testAuthority("CA")).issue("localhost");
    const url = await start({}, { tls: { key: keyPem, cert: certPem } });
    expect(url).toMatch(/^https:/);
    const silent = rawConnection(url);
    expect(await ask(url, "/health", { tls: { rejectUnauthorized: false, agent: false } })).toMatchObject({ status: 200 });
    silent.destroy();
    expect(await untilClosed(url, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")).not.toContain("OK");
  });
});

describe("stopping", () => {
  test("ends idle connections at once", async () => {
    const url = await start({ keepAliveMs: 60_000, headersMs: 60_000 });
    const agent = new Agent({ keepAlive: true });
    await ask(url, "/health", { agent });
    const silent = rawConnection(url);
    await once(silent, "connect");
    silent.on("error", () => undefined);
    expect(await seconds(close)).toBeLessThan(2);
    agent.destroy();
    silent.destroy();
  });

  test("waits for a running request, whose connection then ends too", async () => {
    const url = await start({ keepAliveMs: 60_000 });
    const agent = new Agent({ keepAlive: true });
    const running = ask(url, "/slow", { agent });
    await expect.poll(() => Object.keys(agent.sockets).length).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const closed = close();
    await expect(ask(url, "/health")).rejects.toThrow();
    release();
    expect(await running).toMatchObject({ status: 200, text: "done" });
    expect(await seconds(() => closed)).toBeLessThan(2);
    agent.destroy();
  });

  test("cuts what runs longer than the limit", async () => {
    const url = await start({ drainMs: 100 });
    const running = expect(ask(url, "/slow")).rejects.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await seconds(close)).toBeLessThan(2);
    await running;
  });

  test("cuts a TLS handshake that is still going on", async () => {
    const { keyPem, certPem } = await (await testAuthority("CA")).issue("localhost");
    const url = await start({ drainMs: 100 }, { tls: { key: keyPem, cert: certPem } });
    const silent = rawConnection(url);
    silent.on("error", () => undefined);
    await once(silent, "connect");
    const talking = connect({ port: Number(new URL(url).port), host: "127.0.0.1", rejectUnauthorized: false });
    talking.on("error", () => undefined);
    await once(talking, "secureConnect");
    expect(await seconds(close)).toBeLessThan(2);
    silent.destroy();
    talking.destroy();
  });

  test("twice is once", async () => {
    await start();
    await Promise.all([close(), close()]);
    await close();
  });
});

test("a port in use is a start fault that names it", async () => {
  const url = await start();
  const port = Number(new URL(url).port);
  const taken = listen(createFramedApp(silentLog()), { hostname: "127.0.0.1", port });
  await expect(taken).rejects.toMatchObject({ code: "fault.start", message: `cannot listen on 127.0.0.1 port ${port}` });
});
