/** `get-keys` as an operator runs it, against a real KMS process and a simulated guest agent. */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { fromHex, toHex } from "../../kms/bytes.ts";
import { makeRootCa } from "../../kms/ca/kms-certificates.ts";
import { RootKeys } from "../../kms/keys/root-keys.ts";
import { createGuestAgentServer } from "../../scripts/devnet/guest-agent.ts";
import { createPccs } from "../../scripts/devnet/pccs.ts";
import { issuerOf } from "../../scripts/lib/app-keys.ts";
import { denyBody, infoBody } from "../kms/support/webhook.ts";
import { startConnectProxy } from "../support/connect-proxy.ts";
import { runCommandLine } from "../support/programs.ts";
import { simulatedPlatform } from "../support/simulated-td.ts";
import { testAuthority } from "../support/test-certificates.ts";
import { listening, type ServedKms, serveKms } from "./support/served-kms.ts";

let kms: ServedKms;
let appId: string;

beforeAll(async () => {
  kms = await serveKms();
  appId = `0x${toHex(kms.app.appId)}`;
});
afterAll(() => kms.close());
beforeEach(() => allow());

function allow(reason?: string): void {
  kms.around.webhook.respond = ({ method, path }) => {
    if (method === "GET") return { status: 200, body: infoBody };
    return reason !== undefined && path.endsWith("/app") ? { status: 200, body: denyBody(reason) } : undefined;
  };
}

/** The command line of the published walkthrough, then what a simulated platform needs besides; a flag may be given another value. */
function getKeys(
  changed: Record<string, string | undefined> = {},
  flags: readonly string[] = [],
  env: Record<string, string> = {},
) {
  const options: Record<string, string | undefined> = {
    "--kms-url": kms.url,
    "--root-ca": kms.rootCaFile,
    "--app-id": appId,
    "--agent": kms.agent,
    "--pccs": kms.pccsUrl,
    "--tdx-root": kms.tdxRootFile,
    ...changed,
  };
  const words = Object.entries(options).flatMap(([flag, value]) => (value === undefined ? [] : [flag, value]));
  return runCommandLine("get-keys.ts", [...words, ...flags], env);
}

test("prints the document of the published walkthrough, and nothing but it on stdout", async () => {
  const { status, stdout, stderr } = await getKeys({ "--k256-root": kms.k256Root });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const document = JSON.parse(stdout);
  expect(Object.keys(document)).toEqual(["ca_cert", "disk_crypt_key", "env_crypt_key", "k256_key", "k256_signature"]);
  expect(document.ca_cert).toBe(readFileSync(kms.rootCaFile, "utf8"));
  const plain = { k256_key: document.k256_key.slice(2), k256_signature: document.k256_signature.slice(2) };
  expect(toHex(issuerOf(plain, kms.app.appId))).toBe(kms.k256Root);
  for (const name of ["disk_crypt_key", "env_crypt_key", "k256_key"]) expect(document[name]).toMatch(/^0x[0-9a-f]{64}$/);
});

test("gives the same keys in one line of JSON, with the root key that signed them", async () => {
  const [text, json] = await Promise.all([
    getKeys(),
    getKeys({ "--app-id": appId.toUpperCase().replace("0X", "0x") }, ["--json"]),
  ]);
  expect(json.stdout.trimEnd()).not.toContain("\n");
  expect(JSON.parse(json.stdout)).toEqual({
    ok: true,
    ...JSON.parse(text.stdout),
    gateway_app_id: "gateway",
    k256_root: `0x${kms.k256Root}`,
  });
  expect(text.stderr).toContain(`note: k256_key is signed by ${kms.k256Root}`);
});

test("finds the agent by DSTACK_AGENT_ADDRESS, as path or URL", async () => {
  const env = { DSTACK_AGENT_ADDRESS: kms.agent };
  expect(await getKeys({ "--agent": undefined }, [], env)).toMatchObject({ status: 0 });
  expect(await getKeys({ "--agent": kms.agent.replace("unix:", "") })).toMatchObject({ status: 0 });
  const overHttp = await listening(createGuestAgentServer(kms.app, { appName: "client", version: "0" }), 0);
  const { port } = overHttp.address() as AddressInfo;
  expect(await getKeys({ "--agent": `http://127.0.0.1:${port}` })).toMatchObject({ status: 0 });
  overHttp.close().closeAllConnections();
});

describe("through a proxy", () => {
  test("of HTTPS_PROXY, of --proxy before it, and of none that NO_PROXY excepts", async () => {
    const [first, second] = await Promise.all([startConnectProxy(), startConnectProxy()]);
    const env = { HTTPS_PROXY: first.url };
    expect(await getKeys({}, [], env)).toMatchObject({ status: 0 });
    const authority = new URL(kms.url).host;
    expect(first.asked).toEqual([authority, authority]);
    expect(await getKeys({ "--proxy": second.url }, [], { ...env, NO_PROXY: "*" })).toMatchObject({ status: 0 });
    expect(second.asked).toEqual([authority, authority]);
    expect(await getKeys({}, [], { ...env, NO_PROXY: "127.0.0.0/8" })).toMatchObject({ status: 0 });
    expect(first.asked).toHaveLength(2);
    await Promise.all([first.close(), second.close()]);
  });

  test("the collateral comes too, when its server speaks https", async () => {
    const authority = await testAuthority("authority of the PCCS");
    const { certPem, keyPem } = await authority.issue("pccs", ["127.0.0.1"]);
    const plain = createPccs(simulatedPlatform(), () => new Date());
    const secure = createServer({ cert: certPem, key: keyPem }, (request, response) => plain.emit("request", request, response));
    await listening(secure, 0);
    const caFile = join(kms.around.dir, "pccs-ca.pem");
    writeFileSync(caFile, authority.certPem);
    const proxy = await startConnectProxy();
    const pccsHost = `127.0.0.1:${(secure.address() as AddressInfo).port}`;
    const env = { HTTPS_PROXY: proxy.url, NODE_EXTRA_CA_CERTS: caFile };
    const { status, stderr } = await getKeys({ "--pccs": `https://${pccsHost}` }, [], env);
    expect(stderr).toContain("note:");
    expect(status).toBe(0);
    expect(new Set(proxy.asked)).toEqual(new Set([new URL(kms.url).host, pccsHost]));
    secure.close().closeAllConnections();
    await proxy.close();
  });

  test("that refuses, the KMS is unavailable", async () => {
    const proxy = await startConnectProxy("HTTP/1.1 403 Forbidden\r\n\r\n");
    const { status, stderr } = await getKeys({ "--proxy": proxy.url.replace("http://", "http://user:hunter2@") });
    expect(status).toBe(5);
    expect(stderr).toMatch(/refused with status 403 \(unavailable\.kms\)/);
    expect(stderr).not.toContain("hunter2");
    await proxy.close();
  });
});

describe("prints no key and exits by the family when", () => {
  const refused = async (ended: ReturnType<typeof getKeys>, status: number, code: string, text: string | RegExp = "") => {
    const { status: actual, stdout, stderr } = await ended;
    expect(stderr).toMatch(text);
    expect({ status: actual, code: /\(([a-z.0-9-]+)\)$/m.exec(stderr)?.[1], stdout }).toEqual({ status, code, stdout: "" });
    expect(stderr).toMatch(/^hint: /m);
  };

  test("the policy says no", async () => {
    allow("Compose hash not allowed");
    await refused(getKeys(), 4, "denied.policy", "App not allowed: Boot denied: Compose hash not allowed");
  });

  test("the server has another root", async () => {
    const other = new RootKeys(new Uint8Array(32).fill(1), new Uint8Array(32).fill(2));
    const file = join(kms.around.dir, "other-root.pem");
    writeFileSync(file, await makeRootCa(other, new Date()));
    await refused(getKeys({ "--root-ca": file }), 3, "unproven.server-identity");
  });

  test("the server's evidence does not verify, unless told to look away", async () => {
    await refused(getKeys({ "--tdx-root": undefined }), 3, "unproven.certificate-chain", "evidence of the KMS: ");
    const looked = await getKeys({ "--tdx-root": undefined }, ["--dangerously-skip-server-evidence"]);
    expect(looked.status).toBe(0);
    expect(looked.stderr).toContain("note: the KMS did not prove");
  });

  test("another root key signed the app's key", async () => {
    await refused(getKeys({ "--k256-root": `02${"11".repeat(32)}` }), 3, "unproven.server-identity", "k256_key: signed by");
  });

  test("the machine runs another app", async () => {
    await refused(getKeys({ "--app-id": `0x${"11".repeat(20)}` }), 3, "unproven.app-id", appId);
  });

  test("a part of it is away", async () => {
    await refused(getKeys({ "--agent": "unix:/nowhere.sock" }), 5, "unavailable.guest-agent");
    await refused(getKeys({ "--pccs": "http://127.0.0.1:1" }), 5, "unavailable.collateral");
    await refused(getKeys({ "--kms-url": "https://127.0.0.1:1" }), 5, "unavailable.kms");
  });

  test.each<[string, Record<string, string | undefined>, string]>([
    ["without a URL", { "--kms-url": undefined }, "malformed.usage"],
    ["without a root", { "--root-ca": undefined }, "malformed.usage"],
    ["for http", { "--kms-url": "http://127.0.0.1:8000" }, "malformed.usage"],
    ["for a short app id", { "--app-id": "0x1234" }, "malformed.usage"],
    ["for an uncompressed root key", { "--k256-root": "04".repeat(33) }, "malformed.usage"],
    ["for a proxy that is no HTTP proxy", { "--proxy": "socks5://127.0.0.1:1" }, "malformed.usage"],
    ["for an agent that is none", { "--agent": "agent" }, "malformed.config"],
    ["with a root file that is missing", { "--root-ca": "/nowhere.pem" }, "malformed.file"],
    ["with a root file that is none", { "--root-ca": import.meta.filename }, "malformed.certificate"],
  ])("asked %s", async (_, changed, code) => {
    await refused(getKeys(changed), 2, code);
  });
});

test("is one JSON document with --json, also when refused", async () => {
  const { status, stdout } = await getKeys({ "--app-id": "0x12" }, ["--json"]);
  expect(status).toBe(2);
  expect(JSON.parse(stdout)).toMatchObject({ ok: false, code: "malformed.usage" });
});

test("explains itself", async () => {
  const [help, nothing] = await Promise.all([runCommandLine("get-keys.ts", ["--help"]), runCommandLine("get-keys.ts", [])]);
  expect(help).toMatchObject({ status: 0, stderr: "" });
  expect(nothing).toMatchObject({ status: 2, stdout: "" });
  for (const flag of ["--kms-url", "--root-ca", "--app-id", "--proxy", "--json"]) expect(help.stdout).toContain(flag);
  expect(nothing.stderr).toBe(help.stdout);
  expect(fromHex(kms.k256Root, "root", 33)).toHaveLength(33);
});
