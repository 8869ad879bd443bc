import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { VerifiedEvidence } from "../../kms/attestation/verifier.ts";
import { utf8 } from "../../kms/bytes.ts";
import { encodePem, issueCertificate, spkiOf } from "../../kms/ca/profile.ts";
import { KmsError } from "../../kms/errors.ts";
import { prefersJson } from "../../kms/http/framework.ts";
import { KMS } from "../../kms/http/gen/kms_pb.ts";
import { type Listener, listen } from "../../kms/http/listeners.ts";
import { createMetrics } from "../../kms/http/metrics.ts";
import { rpcsOf } from "../../kms/http/rpc.ts";
import { createServiceApp } from "../../kms/http/service-app.ts";
import { oidOf, privateExtension } from "../../kms/ra-tls/extensions.ts";
import { tlsServerOptions } from "../../kms/ra-tls/server.ts";
import { type Ask, ask } from "../support/http-client.ts";
import { silentLog } from "../support/silent-log.ts";
import { type TestAuthority, type TestIdentity, testAuthority } from "../support/test-certificates.ts";

const version = "v1.2.3 (git:abc)";
let listener: Listener;
let temp: TestAuthority;
let client: TestIdentity;
let peers: (Uint8Array | undefined)[] = [];
let steps: string[] = [];
let answer: () => Promise<VerifiedEvidence | undefined>;

beforeAll(async () => {
  temp = await testAuthority("Temp CA");
  const server = await (await testAuthority("Root CA")).issue("localhost", ["127.0.0.1"]);
  client = await temp.issue("client");
  const rpcs = rpcsOf(KMS, {
    GetMeta: async (_input, call) => {
      steps.push(`handle ${JSON.stringify(call.caller() ?? null)}`);
      return {};
    },
    GetAppKey: async () => {
      throw new KmsError("denied.policy", "no");
    },
    SignCert: async () => ({ certificate_chain: ["a"] }),
  });
  const authenticate = async (peerDer: Uint8Array | undefined) => {
    steps.push("authenticate");
    peers.push(peerDer);
    return answer();
  };
  const metrics = createMetrics();
  const app = createServiceApp({ prefix: "KMS.", rpcs, authenticate, version, log: silentLog(), metrics });
  const tls = tlsServerOptions({ keyPem: utf8(server.keyPem), certPem: server.certPem, tempCaPem: temp.certPem });
  listener = await listen(app, { hostname: "127.0.0.1", port: 0, tls, onHandshakeFailure: metrics.countHandshakeFailure });
});

afterAll(() => listener.close());

beforeEach(() => {
  peers = [];
  steps = [];
  answer = async () => undefined;
});

const call = (path: string, options: Ask = {}) =>
  ask(listener.url, path, { ...options, tls: { rejectUnauthorized: false, agent: false, ...options.tls } });
const asClient = () => ({ key: client.keyPem, cert: client.certPem });

describe("plain routes", () => {
  test.each(["/health", "//health", "/%68ealth", "/health?x"])("%s is OK", async (path) => {
    const got = await call(path);
    expect(got).toMatchObject({ status: 200, text: "OK" });
    expect(got.headers["content-type"]).toBe("text/plain; charset=utf-8");
  });

  test("HEAD works where GET does", async () => {
    expect(await call("/health", { method: "HEAD" })).toMatchObject({ status: 200, text: "" });
    expect(await call("/nope", { method: "HEAD" })).toMatchObject({ status: 404, text: "" });
  });

  test.each(["/health", "/nope", "/prpc/GetMeta", "/prpc/Nope", "/prpc/GetAppKey", "/metrics"])(
    "%s bears the default headers",
    async (path) => {
      expect((await call(path)).headers).toMatchObject({
        server: "Rocket",
        "x-app-version": version,
        "x-content-type-options": "nosniff",
        "x-frame-options": "SAMEORIGIN",
        "permissions-policy": "interest-cohort=()",
      });
    },
  );

  test.each([
    ["GET", "/"],
    ["GET", "/health/"],
    ["GET", "/finish"],
    ["POST", "/health"],
    ["PUT", "/prpc/GetMeta"],
    ["OPTIONS", "/prpc/GetMeta"],
    ["DELETE", "/nope"],
  ])("%s %s is the 404 page", async (method, path) => {
    const page = await call(path, { method });
    expect(page.status).toBe(404);
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(page.text).toContain("404: Not Found");
    const json = await call(path, { method, headers: { Accept: "application/json" } });
    expect(json.status).toBe(404);
    expect(json.headers["content-type"]).toBe("application/json");
    const error = { code: 404, reason: "Not Found", description: "The requested resource could not be found." };
    expect(json.text).toBe(JSON.stringify({ error }, null, 2));
    expect(steps).toEqual([]);
  });

  test.each([
    [undefined, false],
    ["*/*", false],
    ["text/html", false],
    ["application/json", true],
    ["application/json; charset=utf-8", true],
    ["text/html, application/json", false],
    ["text/html;q=0.5, application/json;q=0.9", true],
    ["*/*, application/json", true],
    ["application/json;q=0", false],
    ["application/json;q=x", false],
  ])("Accept %s prefers JSON: %s", (accept, expected) => {
    expect(prefersJson(accept)).toBe(expected);
  });
});

describe("callers", () => {
  test("a caller without a certificate is anonymous", async () => {
    expect(await call("/prpc/GetMeta")).toMatchObject({ status: 200 });
    expect(peers).toEqual([undefined]);
    expect(steps).toEqual(["authenticate", "handle null"]);
  });

  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "the certificate of a %s connection reaches authenticate, its evidence the handler",
    async (tlsVersion) => {
      answer = async () => JSON.parse('{"marker":1}');
      const tls = { ...asClient(), minVersion: tlsVersion, maxVersion: tlsVersion };
      expect(await call("/prpc/GetMeta", { tls })).toMatchObject({ status: 200 });
      expect(peers.map((der) => der && Buffer.from(der).toString("hex"))).toEqual([Buffer.from(client.der).toString("hex")]);
      expect(steps).toEqual(["authenticate", 'handle {"marker":1}']);
    },
  );

  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "a certificate of another CA of the same name ends a %s connection",
    async (tlsVersion) => {
      const foreign = await (await testAuthority("Temp CA")).issue("client");
      const tls = { key: foreign.keyPem, cert: foreign.certPem, minVersion: tlsVersion, maxVersion: tlsVersion };
      await expect(call("/prpc/GetMeta", { tls })).rejects.toThrow();
      await expect(call("/health", { tls })).rejects.toThrow();
      expect(steps).toEqual([]);
    },
  );

  test.each(["/prpc/GetMeta", "/prpc/Nope"])(
    "%s is refused when the certificate proves nothing, before it is looked at",
    async (path) => {
      answer = async () => {
        throw new KmsError("unproven.report-data", "invalid quote: report data mismatch");
      };
      const refused = await call(path, { tls: asClient() });
      expect(refused).toMatchObject({ status: 400, text: '{\n  "error": "invalid quote: report data mismatch"\n}' });
      expect(steps).toEqual(["authenticate"]);
    },
  );

  test("every request of a connection is authenticated anew", async () => {
    const { Agent } = await import("node:https");
    const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false, ...asClient() });
    for (let i = 0; i < 3; i += 1) await ask(listener.url, "/prpc/GetMeta", { agent });
    agent.destroy();
    expect(steps.filter((step) => step === "authenticate")).toHaveLength(3);
  });
});

test("the counters count requests that need an attested caller, and their failures before dispatch too", async () => {
  const read = async () => {
    const { text } = await call("/metrics");
    return Object.fromEntries([...text.matchAll(/^(dstack_\S+) (\d+)$/gm)].map(([, name, count]) => [name, Number(count)]));
  };
  const before = await read();
  await call("/prpc/GetMeta");
  await call("/prpc/GetAppKey");
  await call("/prpc/KMS.SignCert");
  await call("//prpc/KMS.KMS.SignCert?json", { method: "POST", body: "{" });
  answer = async () => {
    throw new KmsError("unproven.report-data", "invalid quote: report data mismatch");
  };
  await call("/prpc/GetKmsKey");
  const after = await read();
  const grown = (name: string) => (after[name] ?? 0) - (before[name] ?? 0);
  expect(grown("dstack_kms_attestation_requests_total")).toBe(4);
  expect(grown("dstack_kms_attestation_failures_total")).toBe(3);
  const { text, headers } = await call("/metrics");
  expect(text.match(/^# (HELP|TYPE) dstack_kms_attestation_(requests|failures)_total /gm)).toHaveLength(4);
  expect(headers["content-type"]).toBe("text/plain; charset=utf-8");
});

describe("a handshake that fails is counted, and ends there:", () => {
  const count = async () => Number(/^keyward_kms_handshake_failures_total (\d+)$/m.exec((await call("/metrics")).text)?.[1]);
  const failing = async (work: () => Promise<unknown>) => {
    const before = await count();
    await expect(work()).rejects.toThrow();
    expect(await count()).toBe(before + 1);
    expect(steps).toEqual([]);
  };
  const withEvidence = async (length: number): Promise<{ cert: string; key: string }> => {
    const key = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const pkcs8 = new Uint8Array(key.privateKey.export({ format: "der", type: "pkcs8" }));
    const extensions = [privateExtension(oidOf.attestation, new Uint8Array(length))];
    const request = { subject: { commonName: "big" }, spki: spkiOf(pkcs8), extensions, now: new Date() };
    const issuer = createPrivateKey(temp.keyPem).export({ format: "der", type: "pkcs8" });
    const cert = await issueCertificate(request, { certificate: temp.certPem, pkcs8: new Uint8Array(issuer) });
    return { cert, key: encodePem("PRIVATE KEY", pkcs8) };
  };

  test.each(["TLSv1.2", "TLSv1.3"] as const)("a client certificate of another CA on %s", async (tlsVersion) => {
    const foreign = await (await testAuthority("Temp CA")).issue("client");
    const tls = { key: foreign.keyPem, cert: foreign.certPem, minVersion: tlsVersion, maxVersion: tlsVersion };
    await failing(() => call("/prpc/GetAppKey", { tls }));
  });

  test("plain HTTP", () => failing(() => ask(listener.url.replace("https:", "http:"), "/prpc/GetAppKey")));

  test.each(["TLSv1.2", "TLSv1.3"] as const)("a client certificate with a megabyte of evidence on %s", async (tlsVersion) => {
    const tls = { ...(await withEvidence(1024 * 1024)), minVersion: tlsVersion, maxVersion: tlsVersion };
    await failing(() => call("/prpc/GetAppKey", { tls }));
  });

  test("but not one with as much as peers can send", async () => {
    const before = await count();
    expect(await call("/prpc/GetMeta", { tls: await withEvidence(60_000) })).toMatchObject({ status: 200 });
    expect(peers[0]?.length).toBeGreaterThan(60_000);
    expect(await count()).toBe(before);
  });
});

test("without the switch there is no /metrics", async () => {
  const app = createServiceApp({ prefix: "KMS.", rpcs: [], authenticate: answer, version, log: silentLog() });
  const plain = await listen(app, { hostname: "127.0.0.1", port: 0 });
  expect(await ask(plain.url, "/metrics")).toMatchObject({ status: 404 });
  await plain.close();
});
