/** A KMS that asks no policy says so at every place where somebody could look, and starts only when told by a dangerous name. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { ask } from "../support/http-client.ts";
import { type Surroundings, surround } from "./support/kms-process.ts";

const dev = '[core.auth_api]\ntype = "dev"\n[core.auth_api.dev]\ngateway_app_id = "some gateway"\n';
const onboard = 'auto_bootstrap_domain = "localhost"\n';

let around: Surroundings;

beforeEach(async () => {
  around = await surround();
});
afterEach(() => around.close());

test("a configuration that worked for others is refused with the key that it needs", async () => {
  const kms = around.start(["-c", around.config(onboard + dev)]);
  expect(await kms.exit).toBe(2);
  const last = kms.lines.at(-1);
  expect(last).toMatchObject({ code: "malformed.config" });
  expect(last?.["msg"]).toContain("core.auth_api.dev.dangerously_allow_everything = true");
});

test("dev mode is logged at the start, told by GetMeta, and asks nobody", async () => {
  const kms = around.start(["-c", around.config(`${onboard}${dev}dangerously_allow_everything = true\n`)]);
  const url = String((await kms.line("listening", "main"))["url"]);
  expect(kms.lines.map((line) => line["msg"])).toContain("core.auth_api.type = dev: every caller gets keys");
  const answer = await ask(url, "/prpc/GetMeta?json", { tls: { rejectUnauthorized: false } });
  expect(JSON.parse(answer.text)).toMatchObject({
    is_dev: true,
    allow_any_upgrade: true,
    gateway_app_id: "some gateway",
    kms_contract_address: null,
    chain_id: null,
    app_auth_implementation: null,
  });
  expect(around.webhook.calls).toEqual([]);
});
