import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { decodeEvidence } from "../../kms/attestation/evidence.ts";
import { bindEvidence, bootstrapReportData } from "../../kms/attestation/report-data.ts";
import { fromHex, toHex } from "../../kms/bytes.ts";
import { createRaTlsClient, fetchTempCa } from "../../kms/ra-tls/client.ts";
import { makeRaTlsIdentity } from "../../kms/ra-tls/identity.ts";
import { createPlatform } from "../../scripts/devnet/platform.ts";
import { ask } from "../support/http-client.ts";
import { simulatedTd } from "../support/simulated-td.ts";
import { type KmsProcess, type Surroundings, surround } from "./support/kms-process.ts";
import { refusal } from "./support/refusals.ts";
import { denyBody, infoBody } from "./support/webhook.ts";

const keyFiles = ["tmp-ca.key", "root-ca.key", "rpc.key", "root-k256.key", "tmp-ca.crt", "root-ca.crt", "rpc.crt"];
const insecure = { rejectUnauthorized: false };

let around: Surroundings;
/** Reasons with which the policy denies; absent = allowed. */
let denials: { kms?: string; app?: string };

beforeEach(async () => {
  around = await surround();
  denials = {};
  around.webhook.respond = ({ method, path }) => {
    if (method === "GET") return { status: 200, body: infoBody };
    const reason = path.endsWith("/kms") ? denials.kms : denials.app;
    return reason === undefined ? undefined : { status: 200, body: denyBody(reason) };
  };
});
afterEach(() => around.close());

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function urlOf(kms: KmsProcess, mode: "onboard" | "main"): Promise<string> {
  return String((await kms.line("listening", mode))["url"]);
}

async function post(base: string, method: string, body: unknown) {
  const options = { method: "POST", body: JSON.stringify(body), tls: base.startsWith("https") ? insecure : {} };
  const answer = await ask(base, `/prpc/${method}?json`, options);
  return { status: answer.status, code: answer.headers["x-error-code"], body: JSON.parse(answer.text) };
}

async function bootstrapped(): Promise<{ kms: KmsProcess; url: string; info: Record<string, string> }> {
  const kms = around.start(["-c", around.config()]);
  const onboard = await urlOf(kms, "onboard");
  const { body } = await post(onboard, "Onboard.Bootstrap", { domain: "localhost" });
  await ask(onboard, "/finish");
  return { kms, url: await urlOf(kms, "main"), info: body };
}

describe("a new KMS", () => {
  test("onboards and then serves on the same port of the same process", async () => {
    const port = await freePort();
    const config = around.config(`[core.metrics]\nenabled = true\n`);
    writeFileSync(config, readFileSync(config, "utf8").replaceAll("port = 0", `port = ${port}`));
    denials.kms = "KMS MR not allowed";
    const kms = around.start(["-c", config]);
    const onboard = await urlOf(kms, "onboard");
    expect(onboard).toBe(`http://127.0.0.1:${port}`);
    expect((await ask(onboard, "/health")).text).toBe("OK");

    const identity = await post(onboard, "Onboard.GetAttestationInfo", null);
    expect(identity.body).toMatchObject({
      os_image_hash: toHex(around.kmsTd.osImageHash),
      tee_variant: "dstack-tdx",
      site_name: "test site",
      eth_rpc_url: "http://127.0.0.1:8545",
    });
    expect(identity.body.ppid).toHaveLength(32);

    expect(await post(onboard, "Onboard.Bootstrap", { domain: "localhost" })).toEqual({
      status: 400,
      code: "denied.self",
      body: { error: "KMS is not allowed to bootstrap: boot denied: KMS MR not allowed" },
    });
    expect(readdirSync(around.certDir)).toEqual([".lock"]);
    expect((await post(onboard, "Onboard.Bootstrap", { domain: "a_b" })).code).toBe("malformed.domain");
    expect((await post(onboard, "Onboard.Onboard", {})).code).toBe("malformed.domain");

    delete denials.kms;
    const [first, second] = await Promise.all([1, 2].map(() => post(onboard, "Onboard.Bootstrap", { domain: "localhost" })));
    const made = first?.status === 200 ? first : second;
    const refused = first?.status === 200 ? second : first;
    expect(refused).toMatchObject({ code: "denied.already-bootstrapped", body: { error: "KMS has already been bootstrapped" } });
    const { ca_pubkey, k256_pubkey, attestation } = made?.body ?? {};
    const expected = bootstrapReportData(fromHex(ca_pubkey, "ca"), fromHex(k256_pubkey, "k256"));
    bindEvidence(decodeEvidence(fromHex(attestation, "attestation")), expected);
    expect(readdirSync(around.certDir).sort()).toEqual([".lock", ...keyFiles, "bootstrap-info.json", "rpc-domain"].sort());
    for (const name of keyFiles.filter((file) => file.endsWith(".key"))) {
      expect(statSync(join(around.certDir, name)).mode & 0o777).toBe(0o600);
    }

    expect((await post(onboard, "Onboard.Finish", null)).body).toBeNull();
    const main = await urlOf(kms, "main");
    expect(main).toBe(`https://127.0.0.1:${port}`);
    const meta = await post(main, "KMS.GetMeta", null);
    expect(meta.body).toMatchObject({
      k256_pubkey,
      bootstrap_info: { ca_pubkey, k256_pubkey, attestation },
      is_dev: false,
      gateway_app_id: "gateway",
      chain_id: 31337,
      kms_contract_address: "0x00000000000000000000000000000000000000aa",
    });
    expect((await ask(main, "/metrics", { tls: insecure })).text).toContain("dstack_kms_attestation_requests_total");
    expect((await post(main, "GetKmsKey", {})).body).toEqual({ error: "No attestation provided" });
    kms.kill("SIGTERM");
    expect(await kms.exit).toBe(0);
  });

  test("that is finished without keys ends with an error", async () => {
    const kms = around.start(["-c", around.config()]);
    await ask(await urlOf(kms, "onboard"), "/finish");
    expect(await kms.exit).toBe(1);
    expect(kms.lines.at(-1)).toMatchObject({ msg: "Failed to onboard", code: "fault.start" });
  });

  test("may bootstrap itself, with the same files and the same checks", async () => {
    const config = around.config('auto_bootstrap_domain = "localhost"');
    denials.kms = "KMS MR not allowed";
    const denied = around.start(["-c", config]);
    expect(await denied.exit).toBe(4);
    expect(denied.lines.at(-1)).toMatchObject({
      msg: "KMS is not allowed to auto-bootstrap: boot denied: KMS MR not allowed",
      code: "denied.self",
    });
    delete denials.kms;
    const kms = around.start(["-c", config]);
    const main = await urlOf(kms, "main");
    expect((await post(main, "GetMeta", null)).body.bootstrap_info.k256_pubkey).toHaveLength(66);
    expect(readdirSync(around.certDir)).toContain("bootstrap-info.json");
  });

  test("that finds a lone bootstrap-info.json does not begin a second time", async () => {
    const config = around.config('auto_bootstrap_domain = "localhost"');
    mkdirSync(around.certDir);
    writeFileSync(join(around.certDir, "bootstrap-info.json"), "{}");
    const kms = around.start(["-c", config]);
    expect(await kms.exit).toBe(4);
    expect(kms.lines.at(-1)).toMatchObject({ code: "denied.already-bootstrapped" });
  });
});

describe("a KMS with keys", () => {
  test("releases keys as the policy says at that moment", async () => {
    const { url, info } = await bootstrapped();
    const local = url.replace("127.0.0.1", "localhost");
    const app = simulatedTd({ instanceSeed: new Uint8Array(20).fill(3) });
    const agent = { attest: async (reportData: Uint8Array) => app.attest(reportData) };
    const tempCa = await fetchTempCa(local);
    const identity = await makeRaTlsIdentity(agent, tempCa, new Date());
    const client = createRaTlsClient({ baseUrl: local, rootCaPem: tempCa.caCertPem, identity });
    const request = { api_version: 1, vm_config: app.vmConfig };

    const keys = await client.call("GetAppKey", request);
    expect(keys).toMatchObject({
      ca_cert: tempCa.caCertPem,
      gateway_app_id: "gateway",
      tproxy_app_id: "gateway",
      os_image_hash: toHex(app.osImageHash),
    });
    expect(await client.call("GetAppKey", request)).toEqual(keys);

    const anonymous = createRaTlsClient({ baseUrl: local, rootCaPem: tempCa.caCertPem });
    expect(await refusal(anonymous.call("GetAppKey", request))).toEqual({
      code: "unproven.no-evidence",
      message: "App not allowed: No attestation provided",
    });
    expect(await refusal(client.call("GetAppKey", { api_version: 2 }))).toEqual({
      code: "malformed.api-version",
      message: "Unsupported API version: 2",
    });
    denials.app = "Compose hash not allowed";
    expect(await refusal(client.call("GetAppKey", request))).toEqual({
      code: "denied.policy",
      message: "App not allowed: Boot denied: Compose hash not allowed",
    });
    denials.app = "authorization backend unavailable";
    expect((await refusal(client.call("GetAppKey", request))).code).toBe("unavailable.webhook");
    delete denials.app;
    denials.kms = "KMS MR not allowed";
    const selfDenied = {
      code: "denied.self",
      message: "KMS self authorization failed: KMS is not allowed: KMS MR not allowed",
    };
    expect(await refusal(client.call("GetAppKey", request))).toEqual(selfDenied);
    expect(await refusal(anonymous.call("GetTempCaCert", null))).toEqual(selfDenied);
    expect(await refusal(anonymous.call("GetAppEnvEncryptPubKey", { app_id: "00".repeat(20) }))).toEqual(selfDenied);
    expect(await anonymous.call("GetMeta", null)).toMatchObject({ k256_pubkey: info["k256_pubkey"] });
    delete denials.kms;

    expect(await refusal(anonymous.call("GetAppEnvEncryptPubKey", { app_id: "00".repeat(19) }))).toEqual({
      code: "malformed.length",
      message: "app_id must be 20 bytes",
    });
    expect(await anonymous.call("GetAppEnvEncryptPubKey", { app_id: toHex(app.appId) })).toMatchObject({
      timestamp: expect.any(Number),
    });
    const outsider = simulatedTd({
      platform: createPlatform(new Uint8Array(32)),
    });
    const foreign = await makeRaTlsIdentity({ attest: async (data) => outsider.attest(data) }, tempCa, new Date());
    const refused = await refusal(
      createRaTlsClient({ baseUrl: local, rootCaPem: undefined, identity: foreign }).call("GetMeta", null),
    );
    expect(refused.code).toMatch(/^unproven\./);
    expect(refused.message).toMatch(/^invalid quote: /);
    await around.webhook.close();
    expect((await refusal(client.call("GetAppKey", request))).code).toBe("unavailable.webhook");
  });

  test("starts again with its keys and a new server certificate, and answers without bootstrap-info.json", async () => {
    const { kms, info } = await bootstrapped();
    kms.kill("SIGINT");
    expect(await kms.exit).toBe(0);
    const before = readFileSync(join(around.certDir, "rpc.crt"), "utf8");
    rmSync(join(around.certDir, "bootstrap-info.json"));
    const again = around.start(["-c", around.config()]);
    const meta = await post(await urlOf(again, "main"), "GetMeta", null);
    expect(meta.body).toMatchObject({ k256_pubkey: info["k256_pubkey"], bootstrap_info: null });
    expect(again.lines.some((line) => line["mode"] === "onboard")).toBe(false);
    expect(readFileSync(join(around.certDir, "rpc.crt"), "utf8")).not.toBe(before);
  });

  test.each([...keyFiles, "rpc-domain"])("does not start without %s, and touches nothing", async (missing) => {
    // a folder of the right shape is enough: the check comes before anything is read
    mkdirSync(around.certDir);
    for (const name of [...keyFiles, "rpc-domain"]) {
      if (name !== missing) writeFileSync(join(around.certDir, name), "kept");
    }
    const before = readdirSync(around.certDir).sort();
    const kms = around.start(["-c", around.config()]);
    expect(await kms.exit).toBe(1);
    expect(kms.lines.at(-1)).toMatchObject({ code: "fault.key-store", msg: expect.stringContaining(missing) });
    expect(readdirSync(around.certDir).sort()).toEqual([".lock", ...before]);
  });

  test("turns anonymous callers away where a client certificate is mandatory", async () => {
    const { kms } = await bootstrapped();
    kms.kill("SIGTERM");
    await kms.exit;
    const again = around.start(["-c", around.config("[rpc.tls.mutual]\nmandatory = true")]);
    const main = await urlOf(again, "main");
    await expect(post(main, "GetMeta", null)).rejects.toThrow();
  });

  test("a second signal does not wait for a request that hangs", async () => {
    const { kms, url } = await bootstrapped();
    around.webhook.respond = () => "never";
    const hanging = post(url, "GetTempCaCert", null).catch(() => undefined);
    const before = around.webhook.calls.length;
    while (around.webhook.calls.length === before) await new Promise((resolve) => setTimeout(resolve, 20));
    kms.kill("SIGTERM");
    await kms.line("stopping");
    kms.kill("SIGTERM");
    expect(await kms.exit).toBe(1);
    await hanging;
  });
});

describe("the command", () => {
  test.each([
    ["an unknown key", "[rpcc]", "malformed.config"],
    ["an admin service without a credential", "[core.admin]\nenabled = true", "malformed.config"],
  ])("%s in kms.toml ends it with code 2", async (_, text, code) => {
    const kms = around.start(["-c", around.config(text)]);
    expect(await kms.exit).toBe(2);
    expect(kms.lines.at(-1)).toMatchObject({ code });
  });

  test("a missing file and a wrong flag end it with code 2", async () => {
    const missing = around.start(["-c", "nowhere.toml"]);
    const wrong = around.start(["--port", "1"]);
    expect(await Promise.all([missing.exit, wrong.exit])).toEqual([2, 2]);
    expect(missing.lines.at(-1)).toMatchObject({ code: "malformed.config" });
    expect(wrong.lines.at(-1)).toMatchObject({ code: "malformed.usage" });
  });

  test("reports legacy keys and weakening switches in the log", async () => {
    const kms = around.start(["-c", around.config("[core.image]\nverify = false\n[default]\nworkers = 8")]);
    await urlOf(kms, "onboard");
    const warned = kms.lines.filter((line) => line["level"] === 40).map((line) => String(line["msg"]));
    expect(warned.join("\n")).toMatch(/default the table has no effect[\s\S]*core.image.verify = false/);
  });

  test("explains itself", async () => {
    const kms = around.start(["--help"]);
    expect(await kms.exit).toBe(0);
    expect(kms.lines[0]).toEqual({ msg: "usage: kms [-c FILE]" });
  });
});
