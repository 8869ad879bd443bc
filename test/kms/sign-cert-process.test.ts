/** Certificates of a running KMS, asked for as guests do, and served to clients that trust its root alone. */
import { X509Certificate } from "node:crypto";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reportData } from "../../kms/attestation/report-data.ts";
import { fromHex, toHex } from "../../kms/bytes.ts";
import { SignCertRequestSchema, SignCertResponseSchema } from "../../kms/http/gen/kms_pb.ts";
import { decodeProtobuf, encodeProtobuf } from "../../kms/http/protobuf-codec.ts";
import { readCertificate } from "../../kms/ra-tls/extensions.ts";
import { csrVersion2, freshTestKey, signDer, wanted } from "../support/csr.ts";
import { ask } from "../support/http-client.ts";
import { simulatedTd } from "../support/simulated-td.ts";
import { type Surroundings, surround } from "./support/kms-process.ts";
import { denyBody } from "./support/webhook.ts";

let around: Surroundings;
let url: string;
const td = simulatedTd({ instanceSeed: new Uint8Array(20).fill(3) });
const key = freshTestKey();
const insecure = { rejectUnauthorized: false };

beforeAll(async () => {
  around = await surround();
  const kms = around.start(["-c", around.config('auto_bootstrap_domain = "localhost"')]);
  url = String((await kms.line("listening", "main"))["url"]);
}, 30_000);
afterAll(() => around.close());

function fields(altNames: readonly string[] = ["127.0.0.1"]) {
  const want = { ...wanted, altNames, clientAuth: true, withEvidence: true, withAppInfo: true };
  const csr = csrVersion2({ spki: key.spki, want }, td.attest(reportData("ratls-cert", key.spki)));
  return { api_version: 2, csr, signature: signDer(csr, key), vm_config: td.vmConfig };
}

function json(changes: object = {}): string {
  const { csr, signature, ...rest } = fields();
  return JSON.stringify({ ...rest, csr: toHex(csr), signature: toHex(signature), ...changes });
}

const post = (path: string, body: string | Uint8Array) => ask(url, path, { method: "POST", body, tls: insecure });
const rootOf = async () => JSON.parse((await ask(url, "/prpc/GetMeta", { tls: insecure })).text).ca_cert;

async function chainOf(answer: Promise<{ status: number; text: string }>): Promise<string[]> {
  const { status, text } = await answer;
  expect(status).toBe(200);
  return JSON.parse(text).certificate_chain;
}

describe("SignCert over the wire", () => {
  test("answers JSON and protobuf with the same chain, but for what is made anew", async () => {
    const chain = await chainOf(post("/prpc/SignCert?json", json()));
    const binary = await post("/prpc/KMS.SignCert", encodeProtobuf(SignCertRequestSchema, fields()));
    expect(binary.status).toBe(200);
    const other = decodeProtobuf(SignCertResponseSchema, binary.bytes).certificate_chain;
    const root = await rootOf();
    for (const pems of [chain, other]) {
      expect(pems).toEqual([expect.any(String), expect.any(String), root]);
      const [leaf, appCa] = (pems as string[]).map((pem) => new X509Certificate(pem));
      if (leaf === undefined || appCa === undefined) throw new Error("no chain");
      expect(leaf.verify(appCa.publicKey) && appCa.verify(new X509Certificate(root).publicKey)).toBe(true);
      const { appId, usage, evidence } = readCertificate(new Uint8Array(leaf.raw));
      expect({ appId, usage, stripped: evidence?.platform.kind }).toEqual({
        appId: td.appId,
        usage: "app:custom",
        stripped: "tdx",
      });
    }
  });

  test("makes a server that clients accept who trust nothing but the root", async () => {
    const [leaf, appCa] = await chainOf(post("/prpc/SignCert?json", json()));
    const pem = key.privateKey.export({ format: "pem", type: "pkcs8" });
    const server = createServer({ key: pem, cert: `${leaf}${appCa}` }, (_request, response) => response.end("app"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const tls = { ca: await rootOf(), agent: false as const };
    expect(await ask(`https://127.0.0.1:${port}`, "/", { tls })).toMatchObject({ status: 200, text: "app" });
    await expect(ask(`https://localhost:${port}`, "/", { tls })).rejects.toThrow(/altnames/);
    server.close();
    server.closeAllConnections();
  });

  test.each([
    ["the version that old guests send", { api_version: 0 }, "Unsupported API version: 0"],
    ["no request", { csr: "" }, "Failed to parse csr: confirm: need 1 bytes, have 0"],
    ["no signature", { signature: "" }, "Failed to verify csr signature: Invalid signature"],
    ["a VM configuration that is none", { vm_config: "{" }, "Failed to parse vm config"],
  ])("refuses %s with the text of the protocol", async (_what, changes, message) => {
    const answer = await post("/prpc/SignCert?json", json(changes));
    expect(answer).toMatchObject({ status: 400, text: JSON.stringify({ error: message }, null, 2) });
  });

  test("refuses what the policy refuses, and counts it", async () => {
    const counters = async () => (await ask(url, "/metrics", { tls: insecure })).text.match(/^dstack_\S+ \d+$/gm);
    around.webhook.respond = ({ path }) =>
      path.endsWith("/app") ? { status: 200, body: denyBody("App is suspended") } : undefined;
    const before = await counters();
    const answer = await post("/prpc/SignCert?json", json());
    around.webhook.respond = undefined;
    expect(answer).toMatchObject({ status: 400, text: '{\n  "error": "Boot denied: App is suspended"\n}' });
    expect(answer.headers["x-error-code"]).toBe("denied.policy");
    const grown = (await counters())?.map((line, index) => Number(line.split(" ")[1]) - Number(before?.[index]?.split(" ")[1]));
    expect(grown).toEqual([1, 1]);
  });

  test("tells the policy of the boot the measurements before the app's own", async () => {
    around.webhook.calls.length = 0;
    td.measure("storage-fs", fromHex("01", "payload"));
    await chainOf(post("/prpc/SignCert?json", json()));
    const bodies = around.webhook.calls.filter(({ path }) => path === "/bootAuth/app").map(({ body }) => JSON.parse(body));
    expect(bodies).toMatchObject([{ appId: toHex(td.appId), keyProviderInfo: "" }]);
    const fresh = simulatedTd({ instanceSeed: new Uint8Array(20).fill(3) });
    const csr = csrVersion2({ spki: key.spki }, fresh.attest(reportData("ratls-cert", key.spki)));
    await chainOf(post("/prpc/SignCert?json", json({ csr: toHex(csr), signature: toHex(signDer(csr, key)) })));
    expect(JSON.parse(around.webhook.calls.at(-1)?.body ?? "").mrAggregated).toBe(bodies[0].mrAggregated);
  });
});
