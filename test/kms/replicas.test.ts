/** Replication between real processes over real TLS: a chain of three nodes that nobody can tell apart, and the refusals on either side. */

import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { toHex } from "../../kms/bytes.ts";
import { createRaTlsClient, fetchTempCa, needKmsUsage, type RaTlsClient } from "../../kms/ra-tls/client.ts";
import { makeRaTlsIdentity } from "../../kms/ra-tls/identity.ts";
import { ask } from "../support/http-client.ts";
import { simulatedTd } from "../support/simulated-td.ts";
import { type KmsProcess, type Surroundings, surround } from "./support/kms-process.ts";
import { denyBody, infoBody, type WebhookCall } from "./support/webhook.ts";

const insecure = { rejectUnauthorized: false };

/** Each node has its own machine, guest agent, collateral service, webhook and folder; what they share is the platform's root. */
interface Node {
  readonly around: Surroundings;
  kms: KmsProcess;
  url: string;
  /** Reasons by route; absent = allowed. */
  denials: { kms?: (call: WebhookCall) => string | undefined; app?: string };
  kmsInfo: unknown;
}

const nodes: Node[] = [];
let registered: { k256Pubkey: string; caPubkey: string };

async function newNode(kmsInfo: unknown, appCompose?: string): Promise<Node> {
  const around = await surround(appCompose);
  const kms = around.start(["-c", around.config()]);
  const node: Node = { around, kms, url: "", denials: {}, kmsInfo };
  around.webhook.respond = (call) => {
    if (call.method === "GET") return { status: 200, body: JSON.stringify({ ...JSON.parse(infoBody), kmsInfo: node.kmsInfo }) };
    const reason = call.path.endsWith("/kms") ? node.denials.kms?.(call) : node.denials.app;
    return reason === undefined ? undefined : { status: 200, body: denyBody(reason) };
  };
  nodes.push(node);
  node.url = await urlOf(kms, "onboard");
  return node;
}

async function urlOf(kms: KmsProcess, mode: "onboard" | "main"): Promise<string> {
  return String((await kms.line("listening", mode))["url"]).replace("127.0.0.1", "localhost");
}

async function post(base: string, method: string, body: unknown) {
  const options = { method: "POST", body: JSON.stringify(body), tls: base.startsWith("https") ? insecure : {} };
  const answer = await ask(base, `/prpc/${method}?json`, options);
  return { status: answer.status, code: answer.headers["x-error-code"], body: JSON.parse(answer.text) };
}

async function onboard(node: Node, source: Node) {
  return post(node.url, "Onboard.Onboard", { source_url: `${source.url}/prpc`, domain: "localhost" });
}

async function finish(node: Node): Promise<void> {
  await ask(node.url, "/finish");
  node.url = await urlOf(node.kms, "main");
}

const app = simulatedTd({ instanceSeed: new Uint8Array(20).fill(3) });

/** One client certificate, as a guest makes it at boot: of the temp CA that the first node gave. */
async function guest(node: Node): Promise<(other: Node) => RaTlsClient> {
  const tempCa = await fetchTempCa(node.url, { checkServer: needKmsUsage });
  const identity = await makeRaTlsIdentity({ attest: async (data) => app.attest(data) }, tempCa, new Date());
  return ({ url }) => createRaTlsClient({ baseUrl: url, rootCaPem: tempCa.caCertPem, identity, checkServer: needKmsUsage });
}

/** Nodes have one root key, but each has issued its own certificate for it. */
function secretsOf(answer: unknown): Record<string, unknown> {
  const members = Object.entries(answer ?? {}).filter(([name]) => name !== "ca_cert");
  expect(members).toHaveLength(7);
  return Object.fromEntries(members);
}

function rootKeyOf(answer: unknown): string {
  const { ca_cert } = z.object({ ca_cert: z.string() }).parse(answer);
  return new X509Certificate(ca_cert).publicKey.export({ format: "der", type: "spki" }).toString("hex");
}

const appKeys = (client: RaTlsClient) => client.call("GetAppKey", { api_version: 1, vm_config: app.vmConfig });

beforeAll(async () => {
  const first = await newNode(null);
  const { body } = await post(first.url, "Onboard.Bootstrap", { domain: "localhost" });
  registered = { k256Pubkey: body.k256_pubkey, caPubkey: body.ca_pubkey };
  first.kmsInfo = registered;
  await finish(first);
  for (let count = 1; count < 3; count += 1) {
    const source = nodes.at(-1);
    const node = await newNode(registered);
    if (source === undefined) throw new Error("no source");
    expect(await onboard(node, source)).toEqual({ status: 200, code: undefined, body: { k256_pubkey: registered.k256Pubkey } });
    await finish(node);
  }
}, 60_000);
afterAll(() => Promise.all(nodes.map(({ around }) => around.close())));

const [one, two, three] = [() => nth(0), () => nth(1), () => nth(2)];
function nth(index: number): Node {
  const node = nodes[index];
  if (node === undefined) throw new Error(`no node ${index}`);
  return node;
}

describe("a chain of three nodes", () => {
  test("releases the same bytes to one client certificate, whichever node is asked", async () => {
    const at = await guest(one());
    const answers = await Promise.all([one, two, three].map((node) => appKeys(at(node()))));
    const [first, ...others] = answers.map((answer) => ({ ...secretsOf(answer), rootKey: rootKeyOf(answer) }));
    for (const other of others) expect(other).toEqual(first);
    expect(first?.rootKey).toBe(registered.caPubkey);
  });

  test("names itself alike: the same keys, no bootstrap of its own but on the first", async () => {
    const metas = await Promise.all([one, two, three].map(async (node) => (await post(node().url, "GetMeta", null)).body));
    expect(metas.map((meta) => meta.k256_pubkey)).toEqual(Array(3).fill(registered.k256Pubkey));
    expect(metas.map((meta) => meta.bootstrap_info?.k256_pubkey)).toEqual([registered.k256Pubkey, undefined, undefined]);
  });

  test("has one key of each kind and a server key for each node", () => {
    const file = (name: string) => [one, two, three].map((node) => readFileSync(join(node().around.certDir, name), "hex"));
    for (const name of ["root-ca.key", "root-k256.key", "tmp-ca.key"]) expect(new Set(file(name)).size).toBe(1);
    for (const name of ["rpc.key", "rpc.crt", "root-ca.crt"]) expect(new Set(file(name)).size).toBe(3);
  });

  test("records on the source who got the root keys", () => {
    const line = one().kms.lines.find((entry) => entry["msg"] === "root keys released to another KMS");
    expect(line?.["receiver"]).toMatchObject({ teeVariant: "dstack-tdx", appId: expect.stringMatching(/^[0-9a-f]{40}$/) });
  });

  test("notices nothing of a node that stops: the client goes on at the next, and the node comes back the same", async () => {
    const at = await guest(three());
    const keys = await appKeys(at(three()));
    three().kms.kill("SIGKILL");
    await three().kms.exit;
    await expect(appKeys(at(three()))).rejects.toThrow();
    expect(secretsOf(await appKeys(at(two())))).toEqual(secretsOf(keys));
    const node = three();
    node.kms = node.around.start(["-c", node.around.config()]);
    node.url = await urlOf(node.kms, "main");
    expect(await appKeys(at(node))).toEqual(keys);
  });
});

describe("a fourth node", () => {
  let fourth: Node;
  beforeAll(async () => {
    fourth = await newNode(registered, '{"name":"another kms"}');
  });
  afterEach(() => {
    one().denials = {};
    fourth.denials = {};
    fourth.kmsInfo = registered;
  });
  /** The lock is there while the process is. */
  const stored = () => {
    const { certDir } = fourth.around;
    return existsSync(certDir) ? readdirSync(certDir).filter((name) => !name.startsWith(".lock")) : [];
  };
  const refused = async (code: string, error: string) => {
    expect(await onboard(fourth, one())).toEqual({ status: 400, code, body: { error } });
    expect(stored()).toEqual([]);
  };

  test("whose measurement the source's policy does not know gets no keys", async () => {
    const measured = toHex(fourth.around.kmsTd.composeHash);
    one().denials.kms = ({ body }) => (JSON.parse(body).composeHash === measured ? "Aggregated MR not allowed" : undefined);
    await refused("denied.policy", "Failed to onboard: Boot denied: Aggregated MR not allowed");
  });

  test("gets nothing from a source that its own owner has revoked", async () => {
    one().denials.kms = () => "Aggregated MR not allowed";
    await refused(
      "denied.self",
      "Failed to onboard: KMS self authorization failed: KMS is not allowed: Aggregated MR not allowed",
    );
  });

  test("takes nothing from a source that its own policy has revoked", async () => {
    fourth.denials.kms = () => "Aggregated MR not allowed";
    await refused(
      "denied.policy",
      "Failed to onboard: Source KMS is not allowed for onboarding: boot denied: Aggregated MR not allowed",
    );
  });

  test("of another contract takes nothing, and makes nothing of its own where keys are registered", async () => {
    fourth.kmsInfo = { ...registered, k256Pubkey: `02${"11".repeat(32)}` };
    const { code } = await onboard(fourth, one());
    expect(code).toBe("unproven.root-keys");
    expect((await post(fourth.url, "Onboard.Bootstrap", { domain: "localhost" })).code).toBe("denied.keys-registered");
    expect(stored()).toEqual([]);
  });

  test("does not begin by itself where keys are registered", async () => {
    const lone = await newNodeThatEnds();
    expect(lone.lines.at(-1)).toMatchObject({ code: "denied.keys-registered" });
  });

  async function newNodeThatEnds(): Promise<KmsProcess> {
    const { around } = fourth;
    const dir = join(around.dir, "auto");
    mkdirSync(dir);
    const file = join(dir, "kms.toml");
    const text = readFileSync(around.config('auto_bootstrap_domain = "localhost"'), "utf8");
    writeFileSync(file, text.replace(around.certDir, join(dir, "certs")));
    const kms = around.start(["-c", file]);
    expect(await kms.exit).toBe(4);
    return kms;
  }

  test("onboards behind a webhook that says nothing of keys, with a warning, after all these refusals", async () => {
    fourth.kmsInfo = undefined;
    expect((await onboard(fourth, two())).status).toBe(200);
    const warning = "the webhook does not report the registered root keys: they are not compared";
    await fourth.kms.line(warning);
    expect((await onboard(fourth, two())).body).toEqual({ error: "KMS has already been onboarded" });
    await finish(fourth);
    const at = await guest(one());
    expect(secretsOf(await appKeys(at(fourth)))).toEqual(secretsOf(await appKeys(at(one()))));
  });
});
