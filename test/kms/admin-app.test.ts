/** The admin listener over HTTP: every request is authenticated, answers have the shapes of the protocol, and the cache is cleared. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashSync } from "bcryptjs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createAdminApp } from "../../kms/http/admin-app.ts";
import type { AdminCredentials } from "../../kms/http/admin-auth.ts";
import { Admin } from "../../kms/http/gen/kms_pb.ts";
import { type Listener, listen } from "../../kms/http/listeners.ts";
import { createPasswordCheck } from "../../kms/http/password-check.ts";
import type { PlainMessage } from "../../kms/http/plain.ts";
import { rpcsOf } from "../../kms/http/rpc.ts";
import { createImageCache } from "../../kms/image-cache.ts";
import { clearImageCache } from "../../kms/methods/admin-clear-image-cache.ts";
import { type Ask, ask } from "../support/http-client.ts";
import { type LogLine, silentLog } from "../support/silent-log.ts";
import { refusal } from "./support/refusals.ts";

const token = "s3cret-token-of-an-admin";
const credentials: AdminCredentials = {
  noAuth: false,
  tokenHash: createHash("sha256").update(token).digest("hex"),
  passwords: createPasswordCheck({ hashes: new Map([["alice", hashSync("pass", 4)]]), now: () => 0, limits: { failures: 2 } }),
};
const withToken = { "X-Admin-Token": token };
const basic = (user: string, password: string) => ({
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
});

let listener: Listener;
let seen: PlainMessage[];
let lines: LogLine[];
beforeEach(async () => {
  seen = [];
  lines = [];
  await start(credentials);
});
afterEach(() => listener.close());

async function start(chosen: AdminCredentials): Promise<void> {
  await listener?.close();
  const rpcs = rpcsOf(Admin, {
    ClearImageCache: async (input) => {
      seen.push(input);
      return null;
    },
  });
  listener = await listen(createAdminApp({ rpcs, credentials: chosen, log: silentLog(lines) }), {
    hostname: "127.0.0.1",
    port: 0,
  });
}

const call = (path: string, options: Ask = {}) => ask(listener.url, path, options);
const path = "/prpc/ClearImageCache";

describe("without a credential", () => {
  test.each([
    ["GET", path],
    ["HEAD", path],
    ["POST", `${path}?json`],
    ["POST", "/prpc/Admin.Nope"],
    ["GET", "/"],
    ["GET", "/health"],
    ["GET", "/metrics"],
    ["GET", "/nope"],
    ["PUT", path],
    ["OPTIONS", path],
  ])("%s %s is a 401 with a challenge and an empty body", async (method, url) => {
    const answer = await call(url, { method, headers: { Accept: "application/json" } });
    expect(answer).toMatchObject({ status: 401, text: "" });
    expect(answer.headers["www-authenticate"]).toBe('Basic realm="dstack-kms admin"');
    expect(answer.headers).toMatchObject({
      server: "Rocket",
      "x-content-type-options": "nosniff",
      "x-frame-options": "SAMEORIGIN",
    });
    expect(answer.headers["x-app-version"]).toBeUndefined();
    expect(seen).toEqual([]);
  });

  test("a token in the query is none", async () => {
    for (const name of ["token", "auth_token", "X-Admin-Token", "access_token"]) {
      expect(await call(`${path}?${name}=${token}`)).toMatchObject({ status: 401 });
    }
  });

  test("a body is not read before the credential is known", async () => {
    const answer = await call(`${path}?json`, {
      method: "POST",
      body: new Uint8Array(1024),
      headers: { "Content-Length": "1024" },
    });
    expect(answer.status).toBe(401);
  });
});

describe("with a credential", () => {
  test.each([
    ["X-Admin-Token", withToken],
    ["Bearer", { Authorization: `Bearer ${token}` }],
    ["the password of the file", basic("alice", "pass")],
    ["the token as password", basic("x", token)],
    ["the token as user", basic(token, "")],
  ])("%s calls", async (_name, headers) => {
    expect(await call(`${path}?json`, { method: "POST", headers, body: '{"image_hash":"all"}' })).toMatchObject({
      status: 200,
      text: "null",
    });
    expect(seen).toEqual([{ image_hash: "all", config_hash: "" }]);
  });

  test.each(["/prpc/Admin.ClearImageCache", "//prpc/ClearImageCache", "/prpc/Admin.Admin.ClearImageCache"])(
    "%s takes its arguments from the query too",
    async (url) => {
      expect(await call(`${url}?image_hash=ab&config_hash=all`, { headers: withToken })).toMatchObject({
        status: 200,
        text: "null",
      });
      expect(seen).toEqual([{ image_hash: "ab", config_hash: "all" }]);
    },
  );

  test("protobuf answers with zero bytes", async () => {
    const answer = await call(path, { method: "POST", headers: withToken });
    expect(answer).toMatchObject({ status: 200, text: "" });
    expect(answer.headers["content-type"]).toBe("application/octet-stream");
  });

  test.each([
    ["/prpc/Nope", "Nope"],
    ["/prpc/Admin.Nope", "Nope"],
    ["/prpc/KMS.GetMeta", "KMS.GetMeta"],
    ["/prpc/GetMeta", "GetMeta"],
  ])("%s is no method", async (url, name) => {
    const answer = await call(url, { headers: withToken });
    expect(answer).toMatchObject({ status: 400, text: `{\n  "error": "Service not found: ${name}"\n}` });
  });

  test.each(["/", "/health", "/metrics", "/finish"])("%s is the 404 page", async (url) => {
    expect(await call(url, { headers: withToken })).toMatchObject({ status: 404 });
  });

  test("the log says who, and never with what", async () => {
    await call(path, { headers: basic("alice", "pass") });
    await call(path, { headers: { Authorization: "Bearer guess-of-a-stranger" } });
    expect(lines.find(({ message }) => message === "admin request")?.fields).toMatchObject({ as: "user alice", path });
    expect(lines.find(({ message }) => message === "admin request refused")?.fields).toMatchObject({
      reason: "wrong-credential",
    });
    expect(JSON.stringify(lines)).not.toMatch(/guess-of|YWxpY2U|pass"/);
  });
});

test("many wrong passwords are answered with 429, and the token still works", async () => {
  for (let count = 0; count < 2; count += 1)
    expect(await call(path, { headers: basic("alice", "x") })).toMatchObject({ status: 401 });
  const answer = await call(path, { headers: basic("alice", "pass") });
  expect(answer).toMatchObject({ status: 429, text: "" });
  expect(answer.headers["retry-after"]).toBe("30");
  expect(await call(path, { headers: withToken })).toMatchObject({ status: 200 });
});

test("without authentication everyone may, but no foreign web page", async () => {
  await start({ noAuth: true, tokenHash: undefined, passwords: undefined });
  expect(await call(path)).toMatchObject({ status: 200, text: "null" });
  for (const site of ["cross-site", "same-site"]) {
    expect(await call(`${path}?image_hash=all`, { headers: { "Sec-Fetch-Site": site } })).toMatchObject({
      status: 403,
      text: "",
    });
  }
  expect(await call(path, { headers: { "Sec-Fetch-Site": "none" } })).toMatchObject({ status: 200 });
  expect(seen).toHaveLength(2);
});

describe("ClearImageCache", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "kms-image-cache-"));
    mkdirSync(join(dir, "images", "ab", "inner"), { recursive: true });
    mkdirSync(join(dir, "images", "cd"));
    mkdirSync(join(dir, "measurements"));
    for (const file of ["images/ab/inner/kernel", "measurements/ef.json", "measurements/ef", "kept"])
      writeFileSync(join(dir, file), "x");
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const clear = (imageHash: string, configHash: string) =>
    clearImageCache({ imageCache: createImageCache(dir) }, { imageHash, configHash });
  const left = () => readdirSync(dir, { recursive: true }).map(String).sort();
  const all = ["images", "images/ab", "images/ab/inner", "images/ab/inner/kernel", "images/cd", "kept", "measurements"];
  const whole = [...all, "measurements/ef", "measurements/ef.json"];
  const without = (...prefixes: string[]) => whole.filter((name) => !prefixes.some((prefix) => name.startsWith(prefix)));

  test.each([
    ["nothing", "", "", whole],
    ["one image", "ab", "", without("images/ab")],
    ["a missing image", "0123", "", whole],
    ["all images", "all", "", without("images")],
    ["one measurement, whose file has another name than its hash", "", "ef", whole.filter((name) => name !== "measurements/ef")],
    ["all measurements", "", "all", without("measurements")],
    ["everything", "all", "all", ["kept"]],
  ])("clears %s", async (_what, imageHash, configHash, expected) => {
    expect(await clear(imageHash, configHash)).toBeNull();
    expect(left()).toEqual(expected);
    await clear(imageHash, configHash);
    expect(left()).toEqual(expected);
  });

  test.each([
    ["../kept", "", "failed to clear image cache: invalid cache key"],
    [".", "", "failed to clear image cache: invalid cache key"],
    ["ab/..", "", "failed to clear image cache: invalid cache key"],
    ["All", "", "failed to clear image cache: invalid cache key"],
    [" ab", "", "failed to clear image cache: invalid cache key"],
    ["0xab", "", "failed to clear image cache: invalid cache key"],
    ["ab\n", "", "failed to clear image cache: invalid cache key"],
    ["a".repeat(129), "", "failed to clear image cache: invalid cache key"],
    ["ab", "ef.json", "failed to clear measurement cache: invalid cache key"],
    ["all", "../kept", "failed to clear measurement cache: invalid cache key"],
  ])("with the keys %j and %j is refused, and removes nothing", async (imageHash, configHash, message) => {
    expect(await refusal(clear(imageHash, configHash))).toEqual({ code: "malformed.request", message });
    expect(left()).toEqual(whole);
  });

  test("follows no link out of the folder", async () => {
    symlinkSync(dir, join(dir, "images", "ee"));
    await clear("ee", "");
    expect(left()).toEqual(whole);
    expect(existsSync(join(dir, "kept"))).toBe(true);
  });

  test("of a folder that was never made is fine", async () => {
    const fresh = createImageCache(join(dir, "nowhere"));
    await fresh.clear("all", "all");
    await fresh.clear("ab", "cd");
  });
});
