/** Onboarding against sources that are wrong in one thing each, over real TLS with real evidence: the text, the code, and an empty folder. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { reportData } from "../../kms/attestation/report-data.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { p256Spki } from "../../kms/keys/kdf.ts";
import { generateP256Scalar, k256Pubkey } from "../../kms/keys/root-keys.ts";
import { loadKeySet } from "../../kms/keys/store.ts";
import { onboardOnboard } from "../../kms/methods/onboard-onboard.ts";
import { oidOf, privateExtension } from "../../kms/ra-tls/extensions.ts";
import { createPlatform } from "../../scripts/devnet/platform.ts";
import { simulatedTd } from "../support/simulated-td.ts";
import { createReceiver, type Receiver, replicaDomain, sourceTd } from "./support/receiver.ts";
import { refusal } from "./support/refusals.ts";
import {
  type Extension,
  keyText,
  random,
  type SourceOptions,
  sourceKeys,
  sourceRpcScalar,
  startSource,
  tempCaAnswer,
} from "./support/source-kms.ts";

const other = generateP256Scalar(random);

let node: Receiver;
beforeAll(async () => {
  node = await createReceiver();
});
afterAll(() => node.close());
beforeEach(() => node.reset());
afterEach(() => node.source?.close());

describe("an honest source", () => {
  test("gives its keys; certificates and the server key are new; nothing else is written", async () => {
    expect(await node.from()).toEqual(k256Pubkey(sourceKeys));
    const keys = await loadKeySet(node.certDir);
    expect(keys.rootKeys.caScalar).toEqual(sourceKeys.caScalar);
    expect(keys.rootKeys.k256Key).toEqual(sourceKeys.k256Key);
    expect(keys.tempCaKeyPem).toBe(tempCaAnswer.temp_ca_key);
    expect(keys.domain).toBe(replicaDomain);
    expect(keys.rpcKeyPem).not.toEqual(new TextEncoder().encode(keyText(sourceRpcScalar)));
    expect(keys.rootCaCertPem).not.toBe(tempCaAnswer.ca_cert);
    expect(node.stored()).not.toContain("bootstrap-info.json");
    expect(node.warnings).toEqual([]);
  });

  test("sees exactly two requests, the second with evidence and the VM configuration of this side", async () => {
    await node.from();
    expect(node.source?.requests).toEqual([
      { path: "/prpc/GetTempCaCert?json", body: "null", attested: false },
      { path: "/prpc/GetKmsKey?json", body: JSON.stringify({ vm_config: node.around.kmsTd.vmConfig }), attested: true },
    ]);
  });

  test("is asked about at this side's own webhook, before its keys and again before they are stored", async () => {
    await node.from();
    expect(node.around.webhook.calls.map(({ method, path }) => [method, path])).toEqual([
      ["POST", "/bootAuth/kms"],
      ["GET", "/"],
      ["POST", "/bootAuth/kms"],
    ]);
    expect(JSON.parse(node.around.webhook.calls[0]?.body ?? "")).toMatchObject({
      appId: toHex(sourceTd.appId),
      composeHash: toHex(sourceTd.composeHash),
      osImageHash: toHex(sourceTd.osImageHash),
    });
  });

  test("of an old release, whose certificate names no OS image, is asked about under that of this side", async () => {
    const legacy = ({ usage }: { usage: Extension }) => {
      const { platform } = sourceTd.evidence(reportData("ratls-cert", p256Spki(sourceRpcScalar)));
      if (platform.kind !== "tdx") throw new Error("not a TD");
      const log = platform.eventLog.map((event) => ({
        imr: event.imr,
        event_type: event.eventType,
        digest: toHex(event.digest),
        event: event.event,
        event_payload: toHex(event.eventPayload),
      }));
      const quote = privateExtension(oidOf.tdxQuote, platform.quote);
      return [usage, quote, privateExtension(oidOf.tdxEventLog, utf8(JSON.stringify(log)))];
    };
    expect(await node.from({ extensions: legacy })).toEqual(k256Pubkey(sourceKeys));
    expect(JSON.parse(node.around.webhook.calls[0]?.body ?? "")).toMatchObject({
      composeHash: toHex(sourceTd.composeHash),
      osImageHash: toHex(node.around.kmsTd.osImageHash),
    });
  });

  test.each([
    ["", "/prpc"],
    ["/", "/prpc"],
    ["/prpc", "/prpc"],
    ["/prpc/", "/prpc"],
    ["//prpc", "//prpc"],
    ["/kms", "/kms/prpc"],
  ])("may be written with '%s' behind the host", async (path, prefix) => {
    node.source = await startSource({ td: sourceTd });
    await node.onboard().from(`${node.source.url}${path}`, replicaDomain);
    expect(node.source.requests.map((request) => request.path)).toEqual([
      `${prefix}/GetTempCaCert?json`,
      `${prefix}/GetKmsKey?json`,
    ]);
  });

  test("gives its keys once: the folder is full then, and a second caller at the same time finds it so", async () => {
    node.source = await startSource({ td: sourceTd });
    const once = node.onboard();
    const { url } = node.source;
    const [first, second] = await Promise.allSettled([once.from(url, replicaDomain), once.from(url, replicaDomain)]);
    expect(first.status).toBe("fulfilled");
    const text = { code: "denied.already-bootstrapped", message: "KMS has already been onboarded" };
    expect(second).toMatchObject({ status: "rejected", reason: text });
    expect(await refusal(once.from("nonsense", replicaDomain))).toEqual(text);
  });
});

describe("nothing is asked of anyone", () => {
  test.each([
    ["", "domain must be a non-empty ASCII DNS name of at most 253 bytes"],
    ["a_b", "domain contains an invalid DNS label"],
  ])("for the domain '%s'", async (name, message) => {
    const work = onboardOnboard({ onboard: node.onboard() }, { sourceUrl: "https://127.0.0.1:1", domain: name });
    expect(await refusal(work)).toEqual({ code: "malformed.domain", message });
  });

  test.each([
    ["http://127.0.0.1:1", "unproven.server-identity", "Source KMS did not present a TLS certificate"],
    ["", "malformed.request", "source_url: need https://host[:port], have 0 characters that are not"],
    ["localhost:1", "malformed.request", "source_url: need https://host[:port], have 11 characters that are not"],
    [
      "https://a:b@127.0.0.1",
      "malformed.request",
      "source_url: need https://host[:port] without credentials, query and fragment",
    ],
    ["https://127.0.0.1/?x", "malformed.request", "source_url: need https://host[:port] without credentials, query and fragment"],
  ])("for the source '%s'", async (url, code, message) => {
    await node.refused(node.onboard().from(url, replicaDomain), code, message);
    expect(node.around.webhook.calls).toEqual([]);
  });

  test.each(["root-ca.key", "root-k256.key"])("over a folder that holds %s", async (name) => {
    mkdirSync(node.certDir);
    writeFileSync(join(node.certDir, name), "kept");
    expect((await refusal(node.from())).message).toBe("KMS has already been onboarded");
    expect(node.stored()).toEqual([name]);
    expect(node.source?.requests).toEqual([]);
  });
});

describe("a source is refused before it is asked for anything", () => {
  const untouched = async (options: Partial<SourceOptions>, code: string, message: unknown) => {
    await node.refused(node.from(options), code, message);
    expect(node.source?.requests).toEqual([]);
    expect(node.around.webhook.calls).toEqual([]);
  };
  const year = 365 * 86_400_000;

  test("without evidence", () =>
    untouched(
      { extensions: ({ usage }) => [usage] },
      "unproven.server-identity",
      "Source KMS certificate does not contain attestation",
    ));

  test("with evidence bound to another key", () =>
    untouched({ evidenceOver: other }, "unproven.report-data", "invalid quote: report data mismatch"));

  test("with the evidence of an app's certificate", () =>
    untouched({ extensions: ({ evidence }) => [evidence] }, "unproven.server-identity", "missing server cert usage"));

  test("with evidence twice", async () => {
    const refused = await refusal(node.from({ extensions: ({ usage, evidence }) => [usage, evidence, evidence] }));
    expect(refused.code).toBe("malformed.certificate");
    expect(node.source?.requests).toEqual([]);
  });

  test.each([
    ["expired", { notAfter: new Date(Date.now() - year) }],
    ["not yet valid", { notBefore: new Date(Date.now() + year) }],
  ])("with a leaf that is %s", async (_, leaf) => {
    const { code, message } = await refusal(node.from({ leaf }));
    expect([code, message]).toEqual([
      "unproven.server-identity",
      expect.stringMatching(/^Failed to onboard: server certificate valid from /),
    ]);
    expect(node.source?.requests).toEqual([]);
  });

  test("with a mebibyte of evidence, in the handshake", async () => {
    const large = privateExtension(oidOf.attestation, new Uint8Array(1024 ** 2));
    await untouched(
      { extensions: ({ usage }) => [usage, large] },
      "unavailable.kms",
      expect.stringContaining("excessive message size"),
    );
  });

  test("on hardware of another root", async () => {
    const foreign = simulatedTd({ platform: createPlatform(new Uint8Array(32).fill(9)) });
    const { code, message } = await refusal(node.from({ td: foreign }));
    expect(code).toMatch(/^unproven\./);
    expect(message).toMatch(/^Failed to onboard: invalid quote: /);
    expect(node.source?.requests).toEqual([]);
  });
});
