/** The admin service as a running KMS has it: its own listener, its credentials from file and environment, and TLS where asked for. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hashSync } from "bcryptjs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ask } from "../support/http-client.ts";
import { testAuthority } from "../support/test-certificates.ts";
import { type KmsProcess, type Surroundings, surround } from "./support/kms-process.ts";

let around: Surroundings;
beforeEach(async () => {
  around = await surround();
});
afterEach(() => around.close());

const insecure = { rejectUnauthorized: false };
const admin = (more: string) => `auto_bootstrap_domain = "localhost"\n[core.admin]\nenabled = true\nport = 0\n${more}`;
const basic = { Authorization: `Basic ${Buffer.from("alice:pass").toString("base64")}` };

async function urlOf(kms: KmsProcess, mode: "onboard" | "main" | "admin"): Promise<string> {
  return String((await kms.line("listening", mode))["url"]);
}

test("serves beside the main listener, clears the cache for an admin, and ends with it", async () => {
  const htpasswd = join(around.dir, "users");
  writeFileSync(htpasswd, `alice:${hashSync("pass", 4)}\n`);
  const cache = join(around.dir, "cache");
  mkdirSync(join(cache, "images", "ab"), { recursive: true });
  const config = around.config(`${admin(`htpasswd_file = "${htpasswd}"`)}\n[core.image]\ncache_dir = "${cache}"`);
  const kms = around.start(["-c", config], { ADMIN_API_TOKEN: "token-from-the-environment" });
  const url = await urlOf(kms, "admin");
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:/);

  const path = "/prpc/Admin.ClearImageCache?json";
  const post = (headers: Record<string, string>, body: string) => ask(url, path, { method: "POST", headers, body });
  expect(await post({}, '{"image_hash":"all"}')).toMatchObject({ status: 401, text: "" });
  expect(await post({ "X-Admin-Token": "token-from-the-environment" }, '{"config_hash":"x"}')).toMatchObject({
    status: 400,
    text: '{\n  "error": "failed to clear measurement cache: invalid cache key"\n}',
  });
  expect(existsSync(join(cache, "images"))).toBe(true);
  expect(await post(basic, '{"image_hash":"all"}')).toMatchObject({ status: 200, text: "null" });
  expect(existsSync(join(cache, "images"))).toBe(false);

  const main = await urlOf(kms, "main");
  expect(await ask(main, path, { method: "POST", body: "{}", tls: insecure })).toMatchObject({
    text: '{\n  "error": "Service not found: Admin.ClearImageCache"\n}',
  });
  expect(JSON.stringify(kms.lines)).not.toContain("token-from-the-environment");
  kms.kill("SIGTERM");
  expect(await kms.exit).toBe(0);
});

test("speaks TLS on the onboard and the admin listener where the configuration has a certificate", async () => {
  const { keyPem, certPem } = await (await testAuthority("Admin CA")).issue("admin", ["127.0.0.1"]);
  writeFileSync(join(around.dir, "tls.key"), keyPem);
  writeFileSync(join(around.dir, "tls.crt"), certPem);
  const tls = 'tls = { key = "tls.key", certs = "tls.crt" }';
  const config = around.config(`${tls}\n[core.admin]\nenabled = true\nport = 0\ninsecure_no_auth = true\n${tls}`);
  const kms = around.start(["-c", config]);
  const onboard = await urlOf(kms, "onboard");
  expect(onboard).toMatch(/^https:/);
  const domain = '{"domain":"localhost"}';
  expect((await ask(onboard, "/prpc/Bootstrap?json", { method: "POST", body: domain, tls: insecure })).status).toBe(200);
  expect(await ask(onboard, "/finish", { tls: insecure })).toMatchObject({ text: "OK" });
  const url = await urlOf(kms, "admin");
  expect(url).toMatch(/^https:/);
  expect(await ask(url, "/prpc/ClearImageCache", { tls: insecure })).toMatchObject({ status: 200, text: "null" });
});

test.each([
  ["a file that is not there", undefined, "core.admin.htpasswd_file: cannot read"],
  ["a file without users", "# nobody\n", "has no users"],
  ["a password that is not bcrypt", "alice:hunter2\n", "line 1: need user:hash with a bcrypt hash"],
])("does not start, and makes no keys, with %s", async (_what, content, message) => {
  const file = join(around.dir, "users");
  if (content !== undefined) writeFileSync(file, content);
  const kms = around.start(["-c", around.config(admin(`htpasswd_file = "${file}"`))], {
    ADMIN_API_TOKEN: "a-token-does-not-help",
  });
  expect(await kms.exit).toBe(2);
  expect(kms.lines.at(-1)).toMatchObject({ code: "malformed.config", msg: expect.stringContaining(message) });
  expect(existsSync(join(around.certDir, "root-ca.key"))).toBe(false);
});

test("does not start when its port is taken", async () => {
  const { port } = new URL(around.webhook.url);
  const text = admin("insecure_no_auth = true").replace("port = 0", `port = ${port}`);
  const kms = around.start(["-c", around.config(text)]);
  expect(await kms.exit).toBe(1);
  expect(kms.lines.at(-1)).toMatchObject({ code: "fault.start", msg: `cannot listen on 127.0.0.1 port ${port}` });
});
