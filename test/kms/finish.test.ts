/** Finish of a running KMS: it ends onboarding, but never in the middle of making keys. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { ask } from "../support/http-client.ts";
import { type KmsProcess, type Surroundings, surround } from "./support/kms-process.ts";
import { allowBody, infoBody, type WebhookAnswer } from "./support/webhook.ts";

let around: Surroundings;
beforeEach(async () => {
  around = await surround();
});
afterEach(() => around.close());

const urlOf = async (kms: KmsProcess, mode: "onboard" | "main") => String((await kms.line("listening", mode))["url"]);

/** A KMS in the middle of making keys: the webhook has been asked, and answers when `decision` is resolved. */
async function startBootstrap() {
  const asked = Promise.withResolvers<void>();
  const decision = Promise.withResolvers<WebhookAnswer>();
  around.webhook.respond = ({ method }) => {
    if (method === "GET") return { status: 200, body: infoBody };
    asked.resolve();
    return decision.promise;
  };
  const kms = around.start(["-c", around.config()]);
  const onboard = await urlOf(kms, "onboard");
  const bootstrap = ask(onboard, "/prpc/Bootstrap?json", { method: "POST", body: '{"domain":"localhost"}' });
  await asked.promise;
  return { kms, onboard, bootstrap, decision };
}

test.each([
  ["GET /finish", (url: string) => ask(url, "/finish"), "OK"],
  ["Finish", (url: string) => ask(url, "/prpc/Onboard.Finish?json", { method: "POST", body: "null" }), "null"],
  ["Finish in protobuf", (url: string) => ask(url, "/prpc/Finish", { method: "POST" }), ""],
])("%s while keys are being made answers at once, and both callers get what they asked for", async (_name, finish, text) => {
  const { kms, onboard, bootstrap, decision } = await startBootstrap();
  expect(await finish(onboard)).toMatchObject({ status: 200, text });
  decision.resolve({ status: 200, body: allowBody });
  const made = await bootstrap;
  expect(made.status).toBe(200);
  const main = await urlOf(kms, "main");
  const meta = await ask(main, "/prpc/GetMeta", { tls: { rejectUnauthorized: false } });
  expect(JSON.parse(meta.text).k256_pubkey).toBe(JSON.parse(made.text).k256_pubkey);
});

test("Finish while keys are being refused ends the process, as there are none", async () => {
  const { kms, onboard, bootstrap, decision } = await startBootstrap();
  await ask(onboard, "/finish");
  decision.resolve({ status: 200, body: '{"isAllowed":false,"gatewayAppId":"","reason":"KMS is paused"}' });
  expect((await bootstrap).text).toContain("KMS is not allowed to bootstrap: boot denied: KMS is paused");
  expect(await kms.exit).toBe(1);
  expect(kms.lines.at(-1)).toMatchObject({ msg: "Failed to onboard", code: "fault.start" });
});
