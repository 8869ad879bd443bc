/** The guest agent client against real listeners, on a unix socket and on TCP. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { createGuestAgent } from "../../kms/ra-tls/guest-agent.ts";

const code = (code: string, message = "") => expect.objectContaining({ code, message: expect.stringContaining(message) });
const dir = mkdtempSync(join(tmpdir(), "keyward-agent-"));
const socketPath = join(dir, "dstack.sock");
const servers: Server[] = [];
const limits = { timeoutMs: 300, maxReplyBytes: 1000 };

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});
afterAll(() => rmSync(dir, { recursive: true }));

test("asks over a unix socket as existing clients do, with a new connection each time", async () => {
  const seen: unknown[] = [];
  const sockets = new Set<unknown>();
  const server = createServer(async (request, response) => {
    const { url, method, headers } = request;
    seen.push([method, url, headers.host, headers["content-type"], await bodyOf(request)]);
    sockets.add(request.socket);
    response.end(url?.startsWith("/Attest") ? '{"attestation":"00ABcd"}' : '{"app_id":"00","vm_config":"{}"}');
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const agent = createGuestAgent(`unix:${socketPath}`);
  expect(await agent.attest(new Uint8Array(64).fill(1))).toEqual(Uint8Array.of(0, 0xab, 0xcd));
  expect(await agent.info()).toEqual({ vmConfig: "{}" });
  const host = `${Buffer.from(socketPath).toString("hex")}:0`;
  expect(seen).toEqual([
    ["POST", "/Attest?json", host, undefined, `{"report_data":"${"01".repeat(64)}"}`],
    ["POST", "/Info?json", host, undefined, "null"],
  ]);
  expect(sockets.size).toBe(2);
});

test("asks over HTTP, below the path of the address", async () => {
  const address = await serve((request, response) => response.end(JSON.stringify({ vm_config: request.url })));
  expect(await createGuestAgent(`${address}/agent/`).info()).toEqual({ vmConfig: "/agent/Info?json" });
});

test.each<[string, RequestListener, string]>([
  [
    "another status, with the reference's text",
    (_q, r) => r.writeHead(404).end("{}"),
    "Invalid status code: 404, path=Attest?json",
  ],
  ["even another success", (_q, r) => r.writeHead(201).end('{"attestation":"00"}'), "Invalid status code: 201"],
  ["no JSON", (_q, r) => r.end("<html>"), "cannot be decoded"],
  ["JSON of another shape", (_q, r) => r.end('{"quote":"00"}'), "cannot be decoded"],
  ["base64", (_q, r) => r.end('{"attestation":"AAECAw=="}'), "need hex"],
  ["an empty attestation", (_q, r) => r.end('{"attestation":""}'), "cannot be decoded"],
  ["more than the limit", (_q, r) => r.end(`{"attestation":"${"00".repeat(600)}"}`), "over 1000 bytes"],
  ["nothing in time", () => undefined, "no answer within 300 ms"],
  ["half an answer in time", (_q, r) => r.write("{"), "no answer within 300 ms"],
  ["a cut connection", (q) => q.socket.destroy(), "socket hang up"],
])("calls the agent unusable that answers %s", async (_name, listener, message) => {
  const agent = createGuestAgent(await serve(listener), limits);
  await expect(agent.attest(new Uint8Array(64))).rejects.toThrow(code("unavailable.guest-agent", message));
});

test("calls the agent unusable that is not there", async () => {
  const agent = createGuestAgent(`unix:${join(dir, "none.sock")}`);
  await expect(agent.info()).rejects.toThrow(code("unavailable.guest-agent", "ENOENT"));
});

test("sends no more than 64 bytes of report data", async () => {
  await expect(createGuestAgent("unix:/none").attest(new Uint8Array(65))).rejects.toThrow(code("malformed.length"));
});

test.each(["vsock://3:1", "https://host", "/var/run/dstack.sock", "unix:relative", ""])("refuses the address '%s'", (address) => {
  expect(() => createGuestAgent(address)).toThrow(code("malformed.config"));
});
