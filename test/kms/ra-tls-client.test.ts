/** The RA-TLS client against real servers: the temp-CA flow, what it checks before it sends, and how refusals arrive. */
import "reflect-metadata";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { TLSSocket } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { encodeEvidence } from "../../kms/attestation/evidence.ts";
import { bindEvidence, reportData } from "../../kms/attestation/report-data.ts";
import { utf8 } from "../../kms/bytes.ts";
import { makeRootCa, makeRpcLeaf, makeTempCa } from "../../kms/ca/kms-certificates.ts";
import { issueCertificate } from "../../kms/ca/profile.ts";
import { KmsError } from "../../kms/errors.ts";
import { encodePkcs8, p256Spki } from "../../kms/keys/kdf.ts";
import { encodeKeyPem } from "../../kms/keys/key-pem.ts";
import { generateP256Scalar, generateRootKeys } from "../../kms/keys/root-keys.ts";
import {
  createRaTlsClient,
  fetchTempCa,
  needKmsUsage,
  needServerKey,
  needValidAt,
  type ServerCertificate,
} from "../../kms/ra-tls/client.ts";
import { oidOf, privateExtension, readCertificate } from "../../kms/ra-tls/extensions.ts";
import { makeRaTlsIdentity } from "../../kms/ra-tls/identity.ts";
import { peerCertificateDer, refuseForeignCertificates, tlsServerOptions } from "../../kms/ra-tls/server.ts";

const random = (length: number) => new Uint8Array(randomBytes(length));
const code = (code: string, message = "") => expect.objectContaining({ code, message: expect.stringContaining(message) });
const now = new Date();
const root = generateRootKeys(random);
const tempScalar = generateP256Scalar(random);
const rpcScalar = generateP256Scalar(random);
const limits = { connectMs: 500, timeoutMs: 500, maxReplyBytes: 100_000 };
/** Evidence is only carried here, never verified, so the platform does not matter. */
const agent = {
  attest: async (data: Uint8Array) =>
    encodeEvidence({
      wire: "v0",
      platform: { kind: "nitro-enclave", nsmQuote: Uint8Array.of(1) },
      stack: { kind: "dstack", reportData: data, runtimeEvents: [], config: "" },
    }),
};

const servers: Server[] = [];
let rootPem: string;
let tempPem: string;
let rpcPem: string;
let baseUrl: string;
let requests: { url: string | undefined; body: string; peer: Uint8Array | undefined; contentType: string | undefined }[] = [];
let answer: (response: ServerResponse, url: string) => void;

async function start(certPem: string): Promise<string> {
  const tls = tlsServerOptions({ keyPem: encodeKeyPem(rpcScalar), certPem, tempCaPem: tempPem });
  const server = createServer(tls, async (request: IncomingMessage, response) => {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const peer = request.socket instanceof TLSSocket ? peerCertificateDer(request.socket) : undefined;
    requests.push({ url: request.url, body, peer, contentType: request.headers["content-type"] });
    answer(response, request.url ?? "");
  });
  refuseForeignCertificates(server);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const rpcLeaf = (rootCaCertPem: string, domain = "127.0.0.1") =>
  makeRpcLeaf({ root, rootCaCertPem, rpcSpki: p256Spki(rpcScalar), domain, evidence: undefined, now });

beforeAll(async () => {
  rootPem = await makeRootCa(root, now);
  tempPem = await makeTempCa(tempScalar, now);
  rpcPem = await rpcLeaf(rootPem);
  baseUrl = await start(rpcPem);
});
afterAll(() => {
  for (const server of servers) server.close().closeAllConnections();
});
beforeEach(() => {
  requests = [];
  const tempCa = { temp_ca_cert: tempPem, temp_ca_key: new TextDecoder().decode(encodeKeyPem(tempScalar)), ca_cert: rootPem };
  answer = (response, url) => response.end(JSON.stringify(url.includes("GetTempCaCert") ? tempCa : { ok: true }));
});

test("goes from nothing to an attested call: temp CA, own leaf, pinned root", async () => {
  const tempCa = await fetchTempCa(`${baseUrl}/`);
  const identity = await makeRaTlsIdentity(agent, tempCa, now);
  const client = createRaTlsClient({ baseUrl, rootCaPem: tempCa.caCertPem, identity, checkServer: needKmsUsage });
  expect(await client.call("GetAppKey", { api_version: 1, vm_config: "" })).toEqual({ ok: true });
  expect(requests.map(({ url, body }) => [url, body])).toEqual([
    ["/prpc/GetTempCaCert?json", "null"],
    ["/prpc/GetAppKey?json", '{"api_version":1,"vm_config":""}'],
  ]);
  expect(requests.map(({ contentType }) => contentType)).toEqual([undefined, undefined]);
  expect(requests[0]?.peer).toBeUndefined();
  const peer = readCertificate(requests[1]?.peer ?? new Uint8Array(0));
  if (peer.evidence === undefined) expect.unreachable("no evidence in the client's leaf");
  else bindEvidence(peer.evidence, reportData("ratls-cert", peer.spki));
});

test("makes no identity from evidence over something else", async () => {
  const swapped = { attest: () => agent.attest(new Uint8Array(64)) };
  const tempCa = await fetchTempCa(baseUrl);
  await expect(makeRaTlsIdentity(swapped, tempCa, now)).rejects.toThrow(code("unproven.report-data"));
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  for (const tempCaKeyPem of ["none", rsa]) {
    await expect(makeRaTlsIdentity(agent, { ...tempCa, tempCaKeyPem }, now)).rejects.toThrow(code("malformed.key"));
  }
});

describe("sends nothing to a server", () => {
  const refused = async (url: string, expected: unknown, settings: object = {}) => {
    const client = createRaTlsClient({ baseUrl: url, rootCaPem: rootPem, limits, ...settings });
    await expect(client.call("GetAppKey", {})).rejects.toThrow(expected as Error);
    expect(requests).toEqual([]);
  };

  test("of another root", async () => {
    const otherRoot = generateRootKeys(random);
    await refused(baseUrl, code("unproven.server-identity"), { rootCaPem: await makeRootCa(otherRoot, now) });
  });

  test("of another name", async () => {
    await refused(await start(await rpcLeaf(rootPem, "other.test")), code("unproven.server-identity", "ALTNAME"));
  });

  test("whose leaf has no usage, as an app's has another", async () => {
    const leaf = (usage: string | undefined) =>
      issueCertificate(
        {
          subject: { commonName: "app" },
          spki: p256Spki(rpcScalar),
          altNames: ["127.0.0.1"],
          extensions: usage === undefined ? [] : [privateExtension(oidOf.usage, utf8(usage))],
          now,
        },
        { certificate: rootPem, pkcs8: encodePkcs8(root.caScalar) },
      );
    const checked = { checkServer: needKmsUsage };
    await refused(await start(await leaf(undefined)), code("unproven.server-identity", "missing server cert usage"), checked);
    const text = "Invalid server cert usage: app:custom";
    await refused(await start(await leaf("app:custom")), code("unproven.server-identity", text), checked);
  });

  test("of another key than the pinned one, even where any root is taken", async () => {
    const pinnedTo = (scalar: Uint8Array) => ({
      rootCaPem: undefined,
      checkServer: (server: ServerCertificate) => needServerKey(server, p256Spki(scalar)),
    });
    const text = "server key is not the one that was attested";
    await refused(baseUrl, code("unproven.server-identity", text), pinnedTo(generateP256Scalar(random)));
    expect(await createRaTlsClient({ baseUrl, ...pinnedTo(rpcScalar) }).call("GetMeta", null)).toEqual({ ok: true });
  });

  test("whose leaf has ended or not begun, also without a root to judge it", async () => {
    const at = (year: number) => ({
      rootCaPem: undefined,
      checkServer: (server: ServerCertificate) => needValidAt(server, new Date(Date.UTC(year, 0))),
    });
    for (const year of [1974, 2099]) await refused(baseUrl, code("unproven.server-identity", `it is ${year}-01-01`), at(year));
    expect(await createRaTlsClient({ baseUrl, ...at(2027) }).call("GetMeta", null)).toEqual({ ok: true });
  });

  test("that the given check refuses, also later than at once", async () => {
    const checkServer = async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      throw new KmsError("unproven.tcb-revoked", "no");
    };
    await refused(baseUrl, code("unproven.tcb-revoked"), { checkServer });
  });
});

describe("turns an answer into an error:", () => {
  const call = (more: object = {}) => createRaTlsClient({ baseUrl, rootCaPem: rootPem, limits, ...more }).call("GetMeta", null);
  const refuse = (status: number, body: string, headers: Record<string, string> = {}) => {
    answer = (response) => response.writeHead(status, headers).end(body);
  };

  test("a refusal with the server's code and text", async () => {
    refuse(400, '{\n  "error": "Boot denied: no"\n}', { "X-Error-Code": "denied.policy" });
    await expect(call()).rejects.toThrow(code("denied.policy", "Boot denied: no"));
  });

  test.each([[undefined], ["denied.nothing"], ["toString"]])("a refusal with code %s as a malformed request", async (unknown) => {
    refuse(400, '{"error":"text"}', unknown === undefined ? {} : { "X-Error-Code": unknown });
    await expect(call()).rejects.toThrow(code("malformed.request", "text"));
  });

  test.each([
    ["App not allowed: Boot denied: Compose hash not allowed", "denied.policy"],
    ["KMS self authorization failed: KMS is not allowed: KMS MR not allowed", "denied.self"],
    ["App not allowed: No attestation provided", "unproven.no-evidence"],
    ["invalid quote: report data mismatch", "unproven.report-data"],
  ])("the reference's '%s', which has no code, as %s", async (text, expected) => {
    refuse(400, JSON.stringify({ error: text }, undefined, 2));
    await expect(call()).rejects.toThrow(code(expected, text));
  });

  test.each([
    [500, "{}", "status 500"],
    [404, "<html>", "status 404"],
    [400, '{"error":{"code":404}}', "refused without a reason"],
    [200, "<html>", "not JSON"],
    [200, `"${"x".repeat(100_001)}"`, "over 100000 bytes"],
  ])("status %i with %s as an unusable KMS", async (status, body, message) => {
    refuse(status, body);
    await expect(call()).rejects.toThrow(code("unavailable.kms", message));
  });

  test("silence as an unusable KMS, after the limit", async () => {
    answer = () => undefined;
    await expect(call()).rejects.toThrow(code("unavailable.kms", "no answer within 500 ms"));
  });

  test("a closed port as an unusable KMS", async () => {
    await expect(call({ baseUrl: "https://127.0.0.1:1" })).rejects.toThrow(code("unavailable.kms", "ECONNREFUSED"));
  });

  test("a temp CA answer of another shape as an unusable KMS", async () => {
    refuse(200, '{"temp_ca_cert":""}');
    await expect(fetchTempCa(baseUrl)).rejects.toThrow(code("unavailable.kms"));
  });
});

test.each(["http://127.0.0.1", "127.0.0.1:8000", ""])("refuses the URL '%s', which names no TLS server", (url) => {
  expect(() => createRaTlsClient({ baseUrl: url, rootCaPem: undefined })).toThrow(code("malformed.usage"));
});
