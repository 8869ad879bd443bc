/** CONNECT through a real proxy: which URLs go through it, what reaches the server, and how a proxy's refusal ends. */
import { createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { createTunnel, proxyFor } from "../../kms/ra-tls/tunnel.ts";
import { type ConnectProxy, startConnectProxy } from "../support/connect-proxy.ts";

const open: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

async function proxy(answer?: string): Promise<ConnectProxy> {
  const started = await startConnectProxy(answer);
  open.push(() => started.close());
  return started;
}

/** A server that repeats what it gets. */
async function echo(): Promise<number> {
  const server = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push(() => void server.close());
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

describe("the proxy of an https URL", () => {
  const url = "https://kms.example.com:8000";
  test.each<[string, Record<string, string>, string, string | undefined]>([
    ["is HTTPS_PROXY", { HTTPS_PROXY: "http://p:1" }, url, "http://p:1"],
    ["is https_proxy before HTTPS_PROXY", { HTTPS_PROXY: "http://p:1", https_proxy: "http://q:1" }, url, "http://q:1"],
    ["is not HTTP_PROXY", { HTTP_PROXY: "http://p:1" }, url, undefined],
    ["is none when the variable is blank", { HTTPS_PROXY: " " }, url, undefined],
    ["is none for all under *", { HTTPS_PROXY: "p:1", NO_PROXY: "*" }, url, undefined],
    ["is none for a name in NO_PROXY", { HTTPS_PROXY: "p:1", NO_PROXY: "a, KMS.example.com" }, url, undefined],
    ["is none for what lies below a name", { HTTPS_PROXY: "p:1", no_proxy: ".example.com" }, url, undefined],
    ["is kept for a name that only ends alike", { HTTPS_PROXY: "p:1", NO_PROXY: "s.example.com" }, url, "p:1"],
    ["is kept for another port", { HTTPS_PROXY: "p:1", NO_PROXY: "kms.example.com:443" }, url, "p:1"],
    ["is none for the port", { HTTPS_PROXY: "p:1", NO_PROXY: "kms.example.com:8000" }, url, undefined],
    ["is none for an address", { HTTPS_PROXY: "p:1", NO_PROXY: "10.0.0.7" }, "https://10.0.0.7", undefined],
    ["is none for a network", { HTTPS_PROXY: "p:1", NO_PROXY: "10.0.0.0/8" }, "https://10.1.2.3:8000", undefined],
    ["is kept outside a network", { HTTPS_PROXY: "p:1", NO_PROXY: "10.0.0.0/8" }, "https://11.1.2.3", "p:1"],
    ["is kept for a network that is none", { HTTPS_PROXY: "p:1", NO_PROXY: "10.0.0.0/99" }, "https://10.1.2.3", "p:1"],
    ["is none for an IPv6 address", { HTTPS_PROXY: "p:1", NO_PROXY: "[fd00::1]" }, "https://[fd00::1]:8000", undefined],
    ["is none for an IPv6 network", { HTTPS_PROXY: "p:1", NO_PROXY: "fd00::/8" }, "https://[fd00::1]:8000", undefined],
  ])("%s", (_, variables, target, expected) => {
    expect(proxyFor(new URL(target), variables)).toBe(expected);
  });
});

test("carries bytes both ways, and the proxy's credentials only to the proxy", async () => {
  const [{ url, asked, authorization }, port] = [await proxy(), await echo()];
  const socket = await createTunnel(url.replace("http://", "us%40er:secret@"))("127.0.0.1", port, 1_000);
  socket.write("hello");
  const [chunk] = await new Promise<Buffer[]>((resolve) => socket.once("data", (data) => resolve([data])));
  socket.destroy();
  expect(String(chunk)).toBe("hello");
  expect(asked).toEqual([`127.0.0.1:${port}`]);
  expect(authorization()).toBe(`Basic ${Buffer.from("us@er:secret").toString("base64")}`);
});

test.each([
  ["refuses", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", /^proxy 127\.0\.0\.1:\d+: refused with status 407$/],
  ["speaks for the server", "HTTP/1.1 200 OK\r\n\r\nHELLO", /^proxy 127\.0\.0\.1:\d+: sent 5 bytes too many$/],
  ["does not speak HTTP", "SSH-2.0\r\n\r\n", /^proxy 127\.0\.0\.1:\d+: Parse Error/],
])("a proxy that %s ends the call without a tunnel and without its password", async (_, answer, message) => {
  const { url } = await proxy(answer);
  const tunnel = createTunnel(url.replace("http://", "http://user:secret@"));
  await expect(tunnel("127.0.0.1", await echo(), 1_000)).rejects.toThrow(message);
});

test("a proxy that says nothing ends the call after the limit", async () => {
  const silent = createServer((socket) => open.push(() => void socket.destroy()));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  open.push(() => void silent.close());
  const address = silent.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  await expect(createTunnel(`127.0.0.1:${port}`)("kms", 1, 100)).rejects.toThrow("no tunnel within 100 ms");
});

test.each(["socks5://127.0.0.1:1080", "http://", ":"])("refuses '%s', which is no HTTP proxy", (text) => {
  expect(() => createTunnel(text)).toThrow(expect.objectContaining({ code: "malformed.usage" }));
});
