/** What the server does with a client certificate, in the order and with the texts of the protocol, on certificates made for each case. */
import "reflect-metadata";
import { randomBytes, X509Certificate } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { type Evidence, encodeEvidence, stripEvidence } from "../../kms/attestation/evidence.ts";
import { reportData } from "../../kms/attestation/report-data.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { createVerifier } from "../../kms/attestation/verifier.ts";
import { concat, toHex, utf8 } from "../../kms/bytes.ts";
import { makeTempCa } from "../../kms/ca/kms-certificates.ts";
import { issueCertificate, type PrivateExtension } from "../../kms/ca/profile.ts";
import { encodePkcs8 } from "../../kms/keys/kdf.ts";
import { generateP256Scalar } from "../../kms/keys/root-keys.ts";
import { createKnownCallers } from "../../kms/known-callers.ts";
import { oidOf, privateExtension } from "../../kms/ra-tls/extensions.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { freshTestKey } from "../support/csr.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { refusal } from "./support/refusals.ts";

const now = new Date();
const platform = simulatedPlatform();
const td = simulatedTd({ platform });
const key = freshTestKey();
const other = freshTestKey();
const collateral = parseCollateral(collateralJson(platform.collateral(now)));
const verifier = createVerifier({
  tdxRoot: loadTrustAnchor(platform.rootDer),
  collateral: { collateralFor: async () => collateral },
  now: () => now,
});
const authenticate = createKnownCallers({ verifier, stands: () => false });

const bound = reportData("ratls-cert", key.spki);
const envelope = (data = bound, change: (evidence: Evidence) => Evidence = stripEvidence) =>
  encodeEvidence(change(td.evidence(data)));
const attestation = (bytes: Uint8Array) => privateExtension(oidOf.attestation, bytes);
const quote = (data = bound) => privateExtension(oidOf.tdxQuote, td.quote(data));
const log = (text = jsonLog()) => privateExtension(oidOf.tdxEventLog, utf8(text));
const wrapped = (oid: string, value: Uint8Array): PrivateExtension => ({ oid, value });

let signer: { certificate: string; pkcs8: Uint8Array };
beforeAll(async () => {
  const scalar = generateP256Scalar((length) => new Uint8Array(randomBytes(length)));
  signer = { certificate: await makeTempCa(scalar, now), pkcs8: encodePkcs8(scalar) };
});

function jsonLog(): string {
  const entries = td.eventLog().map(({ imr, eventType, digest, event, eventPayload }) => ({
    imr,
    event_type: eventType,
    digest: toHex(digest),
    event,
    event_payload: toHex(eventPayload),
  }));
  return JSON.stringify(entries);
}

async function certificate(extensions: readonly PrivateExtension[], commonName = "RA-TLS TEMP Cert"): Promise<Uint8Array> {
  const pem = await issueCertificate({ subject: { commonName }, spki: key.spki, extensions, now }, signer);
  return new Uint8Array(new X509Certificate(pem).raw);
}

const asEnclave = (evidence: Evidence): Evidence => ({
  ...evidence,
  platform: { kind: "nitro-enclave", nsmQuote: Uint8Array.of(1) },
});
const withoutFirst = (evidence: Evidence): Evidence => {
  const { stack } = stripEvidence(evidence);
  return { ...stripEvidence(evidence), stack: { ...stack, runtimeEvents: stack.runtimeEvents.slice(1) } };
};

describe("a client certificate with evidence is a caller:", () => {
  test.each<[string, () => PrivateExtension[]]>([
    ["the reduced envelope", () => [attestation(envelope())]],
    ["the whole envelope", () => [attestation(envelope(bound, (evidence) => evidence))]],
    ["the envelope in msgpack", () => [attestation(envelope(bound, (evidence) => ({ ...stripEvidence(evidence), wire: "v1" })))]],
    ["the legacy pair of old guests", () => [quote(), log()]],
    [
      "the envelope beside a legacy pair that proves nothing",
      () => [quote(new Uint8Array(64)), log("[]"), attestation(envelope())],
    ],
    ["a legacy log alone is no evidence beside it", () => [log("[]"), attestation(envelope())]],
  ])("%s", async (_what, extensions) => {
    const caller = await authenticate(await certificate(extensions(), "any name at all"));
    expect(toHex(caller?.quote.quote.body.reportData ?? new Uint8Array())).toBe(toHex(bound));
  });

  test.each<[string, () => PrivateExtension[]]>([
    ["no extension", () => []],
    ["a log without a quote", () => [log()]],
    [
      "an app id and a usage, which prove nothing",
      () => [privateExtension(oidOf.appId, td.appId), privateExtension(oidOf.usage, utf8("kms:rpc"))],
    ],
  ])("with %s it is anonymous", async (_what, extensions) => {
    expect(await authenticate(await certificate(extensions()))).toBeUndefined();
  });
});

describe("is refused", () => {
  const twice = [attestation(new Uint8Array(1)), attestation(new Uint8Array(1))];

  test.each<[string, () => PrivateExtension[], string, string | RegExp]>([
    // 1: the app id and the app info are read first, and without a prefix
    ["an app id that is not wrapped", () => [wrapped(oidOf.appId, td.appId)], "malformed.certificate", /^app id: /],
    [
      "an app id with a byte behind it",
      () => [wrapped(oidOf.appId, concat(privateExtension(oidOf.appId, td.appId).value, Uint8Array.of(0)))],
      "malformed.certificate",
      "app id: 1 bytes too many",
    ],
    [
      "an app info that is none, before bad evidence",
      () => [privateExtension(oidOf.appInfo, Uint8Array.of(0x91)), attestation(envelope(new Uint8Array(64)))],
      "malformed.certificate",
      "app info: cannot be decoded",
    ],
    // 2: the evidence is looked for, without a prefix too
    ["a quote without its log", () => [quote()], "malformed.certificate", "TDX event log missing"],
    ["an unknown envelope", () => [attestation(utf8("{}"))], "malformed.envelope", "Unknown attestation wire format"],
    ["an empty envelope", () => [attestation(new Uint8Array())], "malformed.envelope", "Empty attestation bytes"],
    [
      "a legacy log that is no JSON",
      () => [quote(), log("[")],
      "malformed.event-log",
      /^event log: need a value at character 1$/,
    ],
    ["two envelopes", () => twice, "malformed.certificate", `extension ${oidOf.attestation}: stands twice in the certificate`],
    // 3: bound to the key of this very certificate
    [
      "evidence over another key",
      () => [attestation(envelope(reportData("ratls-cert", other.spki)))],
      "unproven.report-data",
      "invalid quote: report data mismatch",
    ],
    [
      "evidence over the key under another tag",
      () => [attestation(envelope(reportData("app-data", key.spki)))],
      "unproven.report-data",
      "invalid quote: report data mismatch",
    ],
    [
      "a legacy quote over another key",
      () => [quote(reportData("ratls-cert", other.spki)), log()],
      "unproven.report-data",
      "invalid quote: report data mismatch",
    ],
    [
      "an envelope that only claims the key",
      () => [attestation(envelope(new Uint8Array(64), (evidence) => claiming(stripEvidence(evidence))))],
      "unproven.report-data",
      "invalid quote: tdx report_data mismatch",
    ],
    // 4: verified
    [
      "an event left out",
      () => [attestation(envelope(bound, withoutFirst))],
      "unproven.event-log",
      /^invalid quote: RTMR3 mismatch, quoted: [0-9a-f]{96}, replayed: [0-9a-f]{96}$/,
    ],
    [
      "another platform",
      () => [attestation(envelope(bound, asEnclave))],
      "unproven.platform-unsupported",
      "invalid quote: platform nitro-enclave is not supported by this release",
    ],
  ])("%s", async (_what, extensions, code, message) => {
    const refused = await refusal(authenticate(await certificate(extensions())));
    expect(refused.code).toBe(code);
    if (typeof message === "string") expect(refused.message).toBe(message);
    else expect(refused.message).toMatch(message);
  });
});

function claiming(evidence: Evidence): Evidence {
  return { ...evidence, stack: { ...evidence.stack, reportData: bound } };
}
