/** Client certificates before a running KMS: every form that deployed guests write gets the same keys, every forged one its refusal. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decode, encode } from "@msgpack/msgpack";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Evidence, encodeEvidence, stripEvidence } from "../../kms/attestation/evidence.ts";
import { reportData } from "../../kms/attestation/report-data.ts";
import { concat, toHex, utf8 } from "../../kms/bytes.ts";
import { makeTempCa } from "../../kms/ca/kms-certificates.ts";
import { type CertificateRequest, issueCertificate, type PrivateExtension, spkiOf } from "../../kms/ca/profile.ts";
import { encodePkcs8 } from "../../kms/keys/kdf.ts";
import { decodeKeyPem, encodeKeyPem } from "../../kms/keys/key-pem.ts";
import { createRaTlsClient, fetchTempCa } from "../../kms/ra-tls/client.ts";
import { oidOf, privateExtension } from "../../kms/ra-tls/extensions.ts";
import type { TempCa } from "../../kms/ra-tls/identity.ts";
import type { SimulatedTd } from "../../scripts/devnet/td.ts";
import { type ServedKms, serveKms } from "../scripts/support/served-kms.ts";
import { ask } from "../support/http-client.ts";
import { simulatedTd } from "../support/simulated-td.ts";
import { refusal } from "./support/refusals.ts";

const dayMs = 86_400_000;
const clientScalar = new Uint8Array(32).fill(0x21);
const spki = spkiOf(encodePkcs8(clientScalar));
const ownReportData = reportData("ratls-cert", spki);

let kms: ServedKms;
let tempCa: TempCa;

beforeAll(async () => {
  kms = await serveKms();
  tempCa = await fetchTempCa(kms.url);
});
afterAll(() => kms.close());

interface Leaf {
  readonly extensions?: readonly PrivateExtension[];
  readonly more?: Partial<CertificateRequest>;
  /** Of the request; the app's own unless given. */
  readonly vmConfig?: string;
  readonly ca?: { readonly certificate: string; readonly pkcs8: Uint8Array };
}

/** GetAppKey with a leaf over the test's key, as written. */
async function getAppKey({ extensions = [], more = {}, ca, vmConfig }: Leaf, method = "GetAppKey"): Promise<unknown> {
  const signer = ca ?? { certificate: tempCa.tempCaCertPem, pkcs8: encodePkcs8(decodeKeyPem(utf8(tempCa.tempCaKeyPem))) };
  const request = { subject: { commonName: "RA-TLS TEMP Cert" }, spki, extensions, now: new Date(), ...more };
  const identity = { keyPem: encodeKeyPem(clientScalar), certificatePem: await issueCertificate(request, signer) };
  const client = createRaTlsClient({ baseUrl: kms.url, rootCaPem: tempCa.caCertPem, identity });
  return client.call(method, method === "GetAppKey" ? { api_version: 1, vm_config: vmConfig ?? kms.app.vmConfig } : null);
}

const own = (td: SimulatedTd = kms.app) => td.evidence(ownReportData);
const envelope = (evidence: Evidence) => [privateExtension(oidOf.attestation, encodeEvidence(evidence))];

/** Quote and whole event log apart, as guests up to 0.5.8 write them. */
function legacy(td: SimulatedTd): PrivateExtension[] {
  const log = td.eventLog().map(({ imr, eventType, digest, event, eventPayload }) => ({
    imr,
    event_type: eventType,
    digest: toHex(digest),
    event,
    event_payload: toHex(eventPayload),
  }));
  const quote = privateExtension(oidOf.tdxQuote, td.quote(ownReportData));
  return [quote, privateExtension(oidOf.tdxEventLog, utf8(JSON.stringify(log)))];
}

/** V1 with the other encoding for each byte field: bin where writers have arrays of numbers, and arrays where they have bin. */
function swappedBytes(evidence: Evidence): Uint8Array {
  const swap = (value: unknown): unknown => {
    if (value instanceof Uint8Array) return [...value];
    if (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "number"))
      return Uint8Array.from(value);
    if (Array.isArray(value)) return value.map(swap);
    if (typeof value === "object" && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, swap(inner)]));
    }
    return value;
  };
  return encode(swap(decode(encodeEvidence({ ...evidence, wire: "v1" }))));
}

test("every form of the same evidence gets the same keys", async () => {
  const keys = await getAppKey({ extensions: envelope(stripEvidence(own())) });
  expect(keys).toMatchObject({ os_image_hash: toHex(kms.app.osImageHash) });
  const forms: readonly (readonly PrivateExtension[])[] = [
    envelope(own()),
    envelope({ ...own(), wire: "v1" }),
    envelope(stripEvidence({ ...own(), wire: "v1" })),
    [privateExtension(oidOf.attestation, swappedBytes(stripEvidence(own())))],
    legacy(kms.app),
    [...legacy(kms.app), ...envelope(own())],
    [privateExtension(oidOf.appId, utf8("not looked at")), ...envelope(own())],
  ];
  for (const extensions of forms) expect(await getAppKey({ extensions })).toEqual(keys);
});

describe("the policy is told the OS image of", () => {
  const embedded = (config: string) => envelope({ ...own(), stack: { ...own().stack, config } });
  const nested = () => JSON.stringify({ kms_urls: [], vm_config: kms.app.vmConfig });
  test.each<[string, () => Leaf, boolean]>([
    ["the configuration in the evidence, when the request has none", () => ({ extensions: envelope(own()), vmConfig: "" }), true],
    ["the request's, before that in the evidence", () => ({ extensions: embedded('{"os_image_hash":"00"}') }), true],
    ["the request's, when the evidence is a whole system configuration", () => ({ extensions: embedded(nested()) }), true],
    [
      "nothing, when a system configuration would have to be unwrapped",
      () => ({ extensions: embedded(nested()), vmConfig: "" }),
      false,
    ],
    ["nothing, when there is no configuration", () => ({ extensions: legacy(kms.app), vmConfig: "" }), false],
  ])("%s", async (_, leaf, isKnown) => {
    const outcome = await getAppKey(leaf()).then(
      () => "released",
      (thrown: Error) => thrown.message,
    );
    const asked = kms.around.webhook.calls.findLast(({ path }) => path === "/bootAuth/app")?.body ?? "{}";
    expect(JSON.parse(asked).osImageHash).toBe(isKnown ? toHex(kms.app.osImageHash) : "");
    // an unknown image is asked about like any other; that the policy allows it does not help it
    expect(outcome).toMatch(isKnown ? /^released$/ : /^App not allowed: Failed to verify os image hash: /);
  });
});

describe("the handshake fails, and nothing is answered, with a certificate", () => {
  const otherScalar = new Uint8Array(32).fill(0x22);
  const other = async () => ({ certificate: await makeTempCa(otherScalar, new Date()), pkcs8: encodePkcs8(otherScalar) });
  const ago = (days: number) => new Date(Date.now() - days * dayMs);
  test.each<[string, () => Promise<Leaf> | Leaf]>([
    ["from another CA of the same name", async () => ({ ca: await other(), extensions: envelope(own()) })],
    ["that has expired", () => ({ more: { notAfter: ago(1) }, extensions: envelope(own()) })],
    ["that is not valid yet", () => ({ more: { notBefore: ago(-1) }, extensions: envelope(own()) })],
    ["for servers only", () => ({ more: { purposes: ["serverAuth"] }, extensions: envelope(own()) })],
  ])("%s", async (_, leaf) => {
    expect((await refusal(getAppKey(await leaf()))).code).toBe("unavailable.kms");
  });

  test("of the real root, under which apps have their certificates", async () => {
    const key = readFileSync(join(kms.around.certDir, "root-ca.key"));
    const ca = { certificate: tempCa.caCertPem, pkcs8: encodePkcs8(decodeKeyPem(key)) };
    expect((await refusal(getAppKey({ ca, extensions: envelope(own()) }))).code).toBe("unavailable.kms");
  });
});

describe("is refused with its text:", () => {
  const twice = (oid: string) => `extension ${oid}: stands twice in the certificate`;
  const changed = (at: number): Evidence => {
    const evidence = own();
    if (evidence.platform.kind !== "tdx") throw new Error("not TDX");
    const quote = evidence.platform.quote.map((byte, index) => (index === at ? byte ^ 1 : byte));
    return { ...evidence, platform: { ...evidence.platform, quote } };
  };
  const withoutEvent = (): Evidence => {
    const evidence = own();
    return { ...evidence, stack: { ...evidence.stack, runtimeEvents: evidence.stack.runtimeEvents.slice(1) } };
  };
  const foreignKey = (): Evidence => kms.app.evidence(reportData("ratls-cert", spkiOf(encodePkcs8(new Uint8Array(32).fill(3)))));
  const debugTd = () =>
    simulatedTd({ appCompose: '{"name":"client"}', quoteKnobs: { tdAttributes: Uint8Array.of(1, 0, 0, 0x10, 0, 0, 0, 0) } });

  test.each<[string, () => readonly PrivateExtension[], string, string | RegExp]>([
    ["another key's evidence", () => envelope(foreignKey()), "unproven.report-data", "invalid quote: report data mismatch"],
    [
      "evidence over other data",
      () => envelope(kms.app.evidence(new Uint8Array(64))),
      "unproven.report-data",
      "invalid quote: report data mismatch",
    ],
    ["two envelopes", () => [...envelope(own()), ...envelope(own())], "malformed.certificate", twice(oidOf.attestation)],
    ["two quotes", () => [...legacy(kms.app), ...legacy(kms.app).slice(0, 1)], "malformed.certificate", twice(oidOf.tdxQuote)],
    [
      "two app ids",
      () => [...Array(2)].map(() => privateExtension(oidOf.appId, utf8("x"))),
      "malformed.certificate",
      twice(oidOf.appId),
    ],
    ["a quote without its log", () => legacy(kms.app).slice(0, 1), "malformed.certificate", "TDX event log missing"],
    [
      "a byte behind the envelope",
      () => [privateExtension(oidOf.attestation, concat(encodeEvidence(own()), Uint8Array.of(0)))],
      "malformed.envelope",
      /^envelope: /,
    ],
    ["a changed register in the quote", () => envelope(changed(520)), "unproven.quote-signature", /^invalid quote: /],
    [
      "an event left out",
      () => envelope(withoutEvent()),
      "unproven.event-log",
      /^invalid quote: RTMR3 mismatch, quoted: [0-9a-f]{96}, replayed: /,
    ],
    ["a TD in debug mode", () => envelope(own(debugTd())), "unproven.debug", /^invalid quote: /],
  ])("%s", async (_, extensions, code, message) => {
    const failures = await counter("failures");
    const thrown = await refusal(getAppKey({ extensions: extensions() }));
    expect(thrown).toEqual({ code, message: typeof message === "string" ? message : expect.stringMatching(message) });
    // whatever the method: bad evidence is not overlooked where it would not be needed
    expect(await refusal(getAppKey({ extensions: extensions() }, "GetMeta"))).toEqual(thrown);
    expect(await counter("failures")).toBe(failures + 1);
  });

  test("no evidence at all", async () => {
    expect(await refusal(getAppKey({}))).toEqual({
      code: "unproven.no-evidence",
      message: "App not allowed: No attestation provided",
    });
  });
});

async function counter(name: "requests" | "failures"): Promise<number> {
  const { text } = await ask(kms.url, "/metrics", { tls: { rejectUnauthorized: false } });
  return Number(new RegExp(`^dstack_kms_attestation_${name}_total (\\d+)$`, "m").exec(text)?.[1]);
}
