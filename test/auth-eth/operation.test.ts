/** What operators see of a running webhook: metrics, health, readiness, pages, request ids; under full load too. */
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { maxReasonLength } from "../../auth-eth/api.ts";
import { maxBodyBytes } from "../../auth-eth/request-body.ts";
import { type Answer, ask } from "../support/http-client.ts";
import { allowing, block, bootBody, denying, failing, held, startSurface } from "./support/surface.ts";

let surface: Awaited<ReturnType<typeof startSurface>>;
beforeEach(async () => {
  surface = await startSurface(denying, { maxConcurrent: 2, now: () => (block.timestamp + 12) * 1000 });
});
afterEach(() => surface.close());

const get = (path: string, headers: Record<string, string> = {}): Promise<Answer> => ask(surface.url, path, { headers });
const boot = (kind: "app" | "kms" = "app", headers: Record<string, string> = {}, body: string = JSON.stringify(bootBody)) =>
  ask(surface.url, `/bootAuth/${kind}`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body });
/** By name and labels, as they are written. */
async function samples(): Promise<Map<string, number>> {
  const lines = (await get("/metrics")).text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]));
}

describe("metrics", () => {
  test("count decisions by route and code, refusals and outages among them", async () => {
    await boot("app");
    surface.play(allowing);
    await boot("kms");
    await boot("kms", {}, "{");
    surface.play(failing);
    await boot("app");
    const counted = [...(await samples())].filter(([name]) => name.startsWith("auth_eth_decision_seconds_count"));
    expect(Object.fromEntries(counted)).toEqual({
      'auth_eth_decision_seconds_count{route="app",code="denied.other"}': 1,
      'auth_eth_decision_seconds_count{route="kms",code="allowed"}': 1,
      'auth_eth_decision_seconds_count{route="kms",code="invalid"}': 1,
      'auth_eth_decision_seconds_count{route="app",code="unavailable.stale"}': 1,
    });
  });

  test("tell the age of the last block, and that there was none", async () => {
    expect((await samples()).get("auth_eth_head_age_seconds")).toBeNaN();
    await boot();
    expect((await samples()).get("auth_eth_head_age_seconds")).toBe(12);
  });

  test("give no label to what a caller wrote", async () => {
    await boot("app");
    await get("/");
    await get("/ready");
    const before = [...(await samples()).keys()];
    for (let i = 0; i < 5; i++) {
      await get(`/${i}`, { "x-request-id": `id-${i}` });
      await boot("app", { "user-agent": `agent-${i}` }, JSON.stringify({ ...bootBody, appId: `${i}`.repeat(40) }));
    }
    expect([...(await samples()).keys()]).toEqual(before);
  });
});

describe("with all places taken", () => {
  test("new decisions are refused at once and counted, everything else answers", async () => {
    const { authority, arrived, release } = held(denying);
    surface.play(authority);
    const running = [boot(), boot("kms")];
    await arrived;
    await expect.poll(async () => (await samples()).get("auth_eth_running_requests")).toBe(2);
    const refused = await Promise.all([boot(), boot("kms"), get("/")]);
    expect(refused.map(({ status }) => status)).toEqual([503, 503, 503]);
    expect(JSON.parse(refused[0]?.text ?? "")).toMatchObject({ isAllowed: false, code: "unavailable.overloaded" });
    for (const path of ["/health", "/metrics", "/docs", "/openapi.json"])
      expect([path, (await get(path)).status]).toEqual([path, 200]);
    const counted = await samples();
    for (const route of ["app", "kms", "info"]) {
      expect(counted.get(`auth_eth_overload_refusals_total{route="${route}"}`)).toBe(1);
    }
    release();
    expect((await Promise.all(running)).map(({ status }) => status)).toEqual([200, 200]);
    expect((await samples()).get("auth_eth_running_requests")).toBe(0);
    expect((await boot()).status).toBe(200);
  });

  test("a place comes back after an outage and after a fault", async () => {
    const broken = () => Promise.reject(new TypeError("nobody foresaw this"));
    for (const authority of [failing, { ...denying, decide: broken, deployment: broken }]) {
      surface.play(authority);
      for (let i = 0; i < 4; i++) expect([(await boot()).status, (await get("/")).status]).toEqual([200, 500]);
    }
    expect(JSON.stringify(surface.lines)).not.toContain("foresaw");
  });
});

test("bodies that are being read are bounded together, and the room comes back", async () => {
  const slow = Array.from({ length: 32 }, () => unfinished(surface.url, maxBodyBytes));
  try {
    await expect.poll(async () => (await boot()).status).toBe(503);
    expect(JSON.parse((await boot()).text)).toMatchObject({ isAllowed: false, code: "unavailable.overloaded" });
    expect((await get("/health")).status).toBe(200);
  } finally {
    for (const socket of slow) socket.destroy();
  }
  await expect.poll(async () => (await boot()).status).toBe(200);
});

/** A request that announces a body and never finishes it. */
function unfinished(url: string, length: number): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  socket.write(`POST /bootAuth/app HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n{`);
  return socket;
}

test("many who ask for readiness cause one check at a time", async () => {
  const { authority, arrived, release } = held(denying);
  let checks = 0;
  const ready = () => {
    checks++;
    return authority.ready();
  };
  surface.play({ ...authority, ready });
  const asked = Array.from({ length: 20 }, () => get("/ready"));
  await arrived;
  await get("/health");
  release();
  expect((await Promise.all(asked)).map(({ text }) => JSON.parse(text))).toEqual(Array(20).fill({ status: "ready", block }));
  expect(checks).toBeLessThan(5);
  await get("/ready");
  expect(checks).toBeGreaterThan(1);
});

describe("request ids", () => {
  test.each(["a", "A-Z_0.9", "x".repeat(64)])("takes over %s", async (id) => {
    const { headers } = await boot("app", { "x-request-id": id });
    expect(headers["x-request-id"]).toBe(id);
    expect(surface.lines).toEqual([expect.objectContaining({ requestId: id, code: "denied.other" })]);
  });

  test.each(["", "x".repeat(65), "a b", 'a"b', "é", "a,b", "{}"])("makes one of its own for %j", async (id) => {
    const { headers } = await boot("app", { "x-request-id": id });
    expect(headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
    expect(surface.lines).toEqual([expect.objectContaining({ requestId: headers["x-request-id"] })]);
  });

  test("stand in every line of the request, whatever its answer, and in no other's", async () => {
    const { authority, arrived, release } = held(failing);
    surface.play(authority);
    const slow = [boot("app", { "x-request-id": "slow-1" }), boot("kms", { "x-request-id": "slow-2" })];
    await arrived;
    await boot("app", { "x-request-id": "bad" }, "{");
    await expect.poll(async () => (await samples()).get("auth_eth_running_requests")).toBe(2);
    await boot("app", { "x-request-id": "late" });
    release();
    await Promise.all(slow);
    await get("/", { "x-request-id": "info" });
    const found = surface.lines.map(({ requestId, message, code, boundary }) => [requestId, message, code ?? boundary]);
    expect(found.sort()).toEqual([
      ["bad", "refused", "invalid"],
      ["info", "unavailable", "stale"],
      ["late", "refused", "unavailable.overloaded"],
      ["slow-1", "unavailable", "stale"],
      ["slow-2", "unavailable", "stale"],
    ]);
  });

  test("come back with answers that are no decision", async () => {
    for (const path of ["/nowhere", "/health", "/docs"]) {
      expect((await get(path, { "x-request-id": "mine" })).headers["x-request-id"]).toBe("mine");
    }
  });
});

test("no reason in the log is longer than the bound", async () => {
  const decide = async () => ({ isAllowed: false, reason: "é".repeat(5000), gatewayAppId: "", code: "denied.other" as const });
  surface.play({ ...denying, decide });
  await boot();
  expect(surface.lines[0]?.["reason"]).toBe("?".repeat(maxReasonLength));
});

test("the page fetches nothing and runs nothing", async () => {
  const { text, headers } = await get("/docs");
  expect(headers["content-security-policy"]).toMatch(/^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]+'; /);
  expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "content-type": "text/html; charset=utf-8" });
  expect(text).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|\son\w+=|javascript:|(src|href)="(?!#|\/openapi\.json)/i);
  for (const id of ["getSystemInfo", "authenticateAppBoot", "BootInfo"]) expect(text).toContain(`id="${id}"`);
});
