import { createHash } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { Onboard } from "../../kms/http/gen/kms_pb.ts";
import { type Listener, listen } from "../../kms/http/listeners.ts";
import { createOnboardApp } from "../../kms/http/onboard-app.ts";
import { onboardPage } from "../../kms/http/onboard-page.ts";
import { type Handle, rpcsOf } from "../../kms/http/rpc.ts";
import { ask } from "../support/http-client.ts";
import { silentLog } from "../support/silent-log.ts";

let listener: Listener;
let finished = 0;

const bytes = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const keys = { ca_pubkey: bytes("aa"), k256_pubkey: bytes("bb"), attestation: bytes("cc") };

async function start(handlers: Record<string, Handle> = {}, onFinish?: () => void): Promise<string> {
  finished = 0;
  const count = () => {
    finished += 1;
    onFinish?.();
  };
  const app = createOnboardApp({ rpcs: rpcsOf(Onboard, handlers), onFinish: count, log: silentLog() });
  listener = await listen(app, { hostname: "127.0.0.1", port: 0 });
  return listener.url;
}

afterEach(() => listener.close());

describe("routes", () => {
  test("health, the page and 404", async () => {
    const url = await start();
    expect(await ask(url, "/health")).toMatchObject({ status: 200, text: "OK" });
    expect(await ask(url, "/")).toMatchObject({ status: 200, text: onboardPage });
    expect(await ask(url, "/nope")).toMatchObject({ status: 404 });
    expect(await ask(url, "/metrics")).toMatchObject({ status: 404 });
  });

  test.each(["/prpc/Bootstrap", "/prpc/Onboard.Bootstrap", "/prpc/Onboard.Onboard.Bootstrap"])(
    "%s?json calls Bootstrap",
    async (path) => {
      const url = await start({ Bootstrap: async (input) => (input.domain === "kms.test" ? keys : {}) });
      const headers = { "Content-Type": "application/json" };
      const answer = await ask(url, `${path}?json`, { method: "POST", headers, body: '{"domain":"kms.test"}' });
      expect(answer).toMatchObject({ status: 200, text: '{"ca_pubkey":"aa","k256_pubkey":"bb","attestation":"cc"}' });
    },
  );

  test("the method called like the service is reached by its prefixed name", async () => {
    const url = await start({ Onboard: async () => ({ k256_pubkey: bytes("bb") }) });
    expect(await ask(url, "/prpc/Onboard.Onboard?source_url=a&domain=b")).toMatchObject({
      status: 200,
      text: '{"k256_pubkey":"bb"}',
    });
    expect(await ask(url, "/prpc/Onboard")).toMatchObject({ status: 200 });
  });

  test("methods of the main service are not here", async () => {
    const url = await start();
    expect(await ask(url, "/prpc/KMS.GetMeta")).toMatchObject({
      status: 400,
      text: '{\n  "error": "Service not found: KMS.GetMeta"\n}',
    });
  });
});

describe("finish", () => {
  test("GET /finish answers OK and ends onboarding once", async () => {
    const url = await start();
    const first = await ask(url, "/finish");
    expect(first).toMatchObject({ status: 200, text: "OK" });
    expect(first.headers["content-type"]).toBe("text/plain; charset=utf-8");
    await ask(url, "/finish");
    expect(finished).toBe(1);
  });

  test("the answer still goes out when finishing closes the listener", async () => {
    const url = await start({}, () => void listener.close());
    expect(await ask(url, "/prpc/Onboard.Finish?json", { method: "POST", body: "null" })).toMatchObject({
      status: 200,
      text: "null",
    });
    await listener.close();
    await expect(ask(url, "/health")).rejects.toThrow();
  });

  test("POST /finish is no route", async () => {
    const url = await start();
    expect(await ask(url, "/finish", { method: "POST" })).toMatchObject({ status: 404 });
    expect(finished).toBe(0);
  });
});

describe("page", () => {
  test("loads nothing from anywhere", () => {
    expect(onboardPage).not.toMatch(/(?:src|href)\s*=/);
    expect(onboardPage).not.toMatch(/@import|url\(|innerHTML/);
  });

  test("its policy allows exactly the script and style that stand in it", async () => {
    const url = await start();
    const policy = String((await ask(url, "/")).headers["content-security-policy"]);
    for (const tag of ["script", "style"]) {
      const body = onboardPage.match(new RegExp(`<${tag}>([\\s\\S]*)</${tag}>`))?.[1] ?? "";
      expect(policy).toContain(`${tag}-src 'sha256-${createHash("sha256").update(body).digest("base64")}'`);
    }
    expect(policy).toContain("default-src 'none'");
  });

  test("its script is JavaScript", () => {
    const script = onboardPage.match(/<script>([\s\S]*)<\/script>/)?.[1] ?? "";
    expect(() => new Function(script)).not.toThrow();
  });
});
