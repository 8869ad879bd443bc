/** The client that the KMS uses: strict about what it accepts, bounded in time and size. */
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BootRequest, createAuthClient } from "../../auth-eth/api.ts";
import { bodyOf } from "./support/webhook.ts";

let answer: RequestListener = (_request, response) => void response.end();
let seen: { method: string | undefined; url: string | undefined; headers: IncomingMessage["headers"]; body: string };
let url: string;
const server = createServer(async (request, response) => {
  const body = await bodyOf(request);
  seen = { method: request.method, url: request.url, headers: request.headers, body };
  answer(request, response);
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const json = (value: unknown, status = 200): RequestListener => {
  return (_request, response) =>
    void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
};
const request: BootRequest = {
  teeVariant: "dstack-tdx",
  mrAggregated: "11".repeat(32),
  osImageHash: "",
  mrSystem: "",
  appId: "22".repeat(20),
  composeHash: "",
  instanceId: "",
  deviceId: "33".repeat(32),
  keyProviderInfo: "",
  tcbStatus: "UpToDate",
  advisoryIds: ["INTEL-SA-1"],
};
const good = { isAllowed: true, reason: "", gatewayAppId: "any" };
const info = { status: "ok", kmsContractAddr: "0x1", gatewayAppId: "", chainId: 31337, appImplementation: "0x2" };

test("asks with the path, the headers and the member order of the wire", async () => {
  answer = json({ ...good, code: "allowed" });
  const client = createAuthClient({ url: `${url}/base`, deadlineMs: 10_000, userAgent: "dstack-kms/1.2.3" });
  expect(await client.boot("kms", request)).toEqual({ ...good, code: "allowed" });
  expect(seen).toMatchObject({
    method: "POST",
    url: "/base/bootAuth/kms",
    headers: { "content-type": "application/json", "user-agent": "dstack-kms/1.2.3" },
    body: JSON.stringify(request),
  });
  answer = json({ ...good, code: { foreign: true } });
  expect(await createAuthClient({ url: `${url}/base/`, deadlineMs: 10_000 }).boot("app", request)).toEqual(good);
  expect(seen.url).toBe("/base/bootAuth/app");
});

test("reads the description at the address as configured", async () => {
  answer = json(info);
  expect(await createAuthClient({ url: `${url}/base`, deadlineMs: 10_000 }).info()).toEqual(info);
  expect(seen).toMatchObject({ method: "GET", url: "/base" });
});

test("bounds the reason", async () => {
  answer = json({ ...good, isAllowed: false, reason: `é\n${"x".repeat(1000)}` });
  const { reason } = await createAuthClient({ url, deadlineMs: 10_000 }).boot("app", request);
  expect(reason).toBe(`??${"x".repeat(254)}`);
});

const cut = `${"x".repeat(511)}é`; // a character across the limit of what is quoted
test.each<[string, RequestListener, string]>([
  ["a server error", json(good, 500), "status"],
  ["a refusal whose text is cut within a character", (_request, response) => void response.writeHead(400).end(cut), "status"],
  ["a redirect", (_request, response) => void response.writeHead(302, { location: "/" }).end(), "status"],
  ["no JSON", (_request, response) => void response.end("<html>"), "decode"],
  ["malformed UTF-8", (_request, response) => void response.end(Buffer.from([0x22, 0xff, 0x22])), "decode"],
  ["a missing member", json({ isAllowed: true, reason: "" }), "decode"],
  ["a boolean in text", json({ ...good, isAllowed: "true" }), "decode"],
  ["a huge answer", json({ ...good, gatewayAppId: "x".repeat(70_000) }), "decode"],
  ["an ended connection", (_request, response) => void response.destroy(), "network"],
  ["silence", () => undefined, "timeout"],
])("refuses %s", async (_name, listener, kind) => {
  answer = listener;
  const deadlineMs = kind === "timeout" ? 300 : 10_000;
  await expect(createAuthClient({ url, deadlineMs }).boot("app", request)).rejects.toMatchObject({
    name: "AuthClientError",
    kind,
  });
});

test("quotes at most 512 bytes of a refusal", async () => {
  answer = (_request, response) => void response.writeHead(400).end("x".repeat(2000));
  const message = `auth api ${url}/bootAuth/app returned 400: ${"x".repeat(512)}`;
  await expect(createAuthClient({ url, deadlineMs: 10_000 }).boot("app", request)).rejects.toHaveProperty("message", message);
});

describe("a connection that fails before an answer", () => {
  let asked = 0;
  const failing = (count: number, fail: RequestListener): RequestListener => {
    asked = 0;
    return (incoming, response) => void (++asked <= count ? fail(incoming, response) : json(good)(incoming, response));
  };
  const end: RequestListener = (_request, response) => void response.destroy();
  const half: RequestListener = (_request, response) =>
    void response.writeHead(200, { "content-length": "99" }).write("{", () => response.destroy());

  test("is tried once more", async () => {
    answer = failing(1, end);
    expect(await createAuthClient({ url, deadlineMs: 10_000 }).boot("app", request)).toEqual(good);
    expect(asked).toBe(2);
  });

  test.each<[string, number, RequestListener, number, number, string]>([
    ["fails again", 2, end, 10_000, 2, "network"],
    ["has no time left", 1, end, 190, 1, "network"],
    ["failed within the answer", 1, half, 10_000, 1, "network"],
    ["answered with a failure", 1, json(good, 503), 10_000, 1, "status"],
    ["answered nonsense", 1, json("nonsense"), 10_000, 1, "decode"],
    ["was silent", 1, () => undefined, 300, 1, "timeout"],
  ])("is not tried again where it %s", async (_name, count, fail, deadlineMs, times, kind) => {
    answer = failing(count, fail);
    await expect(createAuthClient({ url, deadlineMs }).boot("app", request)).rejects.toMatchObject({ kind });
    expect(asked).toBe(times);
  });
});

test("keeps its socket between calls, and ends it when closed", async () => {
  answer = json(good);
  const connections = () => new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
  server.closeIdleConnections();
  await expect.poll(connections).toBe(0);
  const client = createAuthClient({ url, deadlineMs: 10_000 });
  for (let call = 0; call < 3; call++) await client.boot("app", request);
  expect(await connections()).toBe(1);
  client.close();
  await expect.poll(connections).toBe(0);
  await expect(client.boot("app", request)).rejects.toMatchObject({ kind: "network" });
});
