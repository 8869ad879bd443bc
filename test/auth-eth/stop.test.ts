/** The end of the process: what runs is answered, nothing new is taken, and the exit code says how it ended. */
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent, createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { ask } from "../support/http-client.ts";
import { contract, startProcess } from "./support/process.ts";
import { bootBody } from "./support/surface.ts";

/** A chain endpoint that is broken at first and then waits to be let go. */
let waiting: ServerResponse[] = [];
let isHolding = false;
const endpoint = createServer((_request, response) => {
  if (isHolding) waiting.push(response);
  else response.writeHead(500).end();
});
let env: Record<string, string>;
beforeAll(async () => {
  await new Promise<void>((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
  const { port } = endpoint.address() as AddressInfo;
  env = { ETH_RPC_URL: `http://127.0.0.1:${port}`, KMS_CONTRACT_ADDR: contract, PORT: "0", AUTH_DEADLINE_MS: "20000" };
});
beforeEach(() => {
  waiting = [];
  isHolding = false;
});
afterAll(() => {
  endpoint.closeAllConnections();
  endpoint.close();
});

function letGo(): void {
  isHolding = false;
  for (const response of waiting) response.writeHead(500).end();
}

const boot = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(bootBody) };

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s lets a slow decision have its answer, takes nothing new, and exits 0",
  async (signal) => {
    const { child, lineOf } = startProcess(env);
    const { url } = await lineOf("listening");
    const agent = new Agent({ keepAlive: true, maxSockets: 2 });
    expect((await ask(url, "/health", { agent })).status).toBe(200); // leaves an idle connection
    isHolding = true;
    const slow = ask(url, "/bootAuth/app", { ...boot, agent });
    await expect.poll(() => waiting.length).toBe(1);
    child.kill(signal);
    await lineOf("stopping");
    await expect(ask(url, "/health")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    const start = performance.now();
    letGo();
    const { status, headers, text } = await slow;
    expect([status, headers.connection]).toEqual([200, "close"]);
    expect(JSON.parse(text)).toMatchObject({ isAllowed: false, code: "unavailable.rpc-status" });
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(performance.now() - start).toBeLessThan(4_000); // neither the deadline nor an idle connection is waited for
    agent.destroy();
  },
);

test("a signal before it listens ends it too", async () => {
  isHolding = true;
  const { child, lineOf } = startProcess(env);
  await lineOf("settings");
  child.kill("SIGTERM");
  await lineOf("stopping");
  expect(await once(child, "exit")).toEqual([0, null]);
  letGo();
});

test("a second signal ends it at once", async () => {
  const { child, lineOf } = startProcess(env);
  const { url } = await lineOf("listening");
  isHolding = true;
  const lost = ask(url, "/bootAuth/app", boot).catch((error: unknown) => error);
  await expect.poll(() => waiting.length).toBe(1);
  child.kill("SIGTERM");
  await lineOf("stopping");
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([1, null]);
  expect(await lost).toMatchObject({ code: "ECONNRESET" });
  letGo();
});

test("completes its environment from .env, and what is set wins", async () => {
  const folder = await mkdtemp(join(tmpdir(), "webhook-"));
  const path = join(folder, "policy.json");
  await writeFile(path, JSON.stringify({ gatewayAppId: "from-file" }));
  await writeFile(join(folder, ".env"), `AUTH_CONFIG_PATH=${path}\nPORT=1\nHOST=127.0.0.1\n`);
  const { child, lineOf } = startProcess({ PORT: "0" }, folder);
  expect(await lineOf("settings")).toMatchObject({ port: 0, backend: { kind: "file", path } });
  const { url } = await lineOf("listening");
  const { text } = await ask(url, "/");
  expect(JSON.parse(text)).toMatchObject({ status: "ok", gatewayAppId: "from-file", kmsContractAddr: `0x${"0".repeat(40)}` });
  expect(JSON.parse(text)).not.toHaveProperty("ethRpcUrl");
  expect(JSON.parse((await ask(url, "/ready")).text)).toEqual({ status: "ready" });
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
  await rm(folder, { recursive: true });
});
