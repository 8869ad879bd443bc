/** Reading a peer's certificate: each field, each refusal, and no crash on anything. */
import "reflect-metadata";
import { randomBytes } from "node:crypto";
import * as x509 from "@peculiar/x509";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { type Evidence, encodeEvidence } from "../../kms/attestation/evidence.ts";
import { concat, fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { issueCertificate, type PrivateExtension } from "../../kms/ca/profile.ts";
import { encodePkcs8, p256Spki } from "../../kms/keys/kdf.ts";
import { generateP256Scalar } from "../../kms/keys/root-keys.ts";
import { decodeAppInfo, encodeAppInfo } from "../../kms/ra-tls/app-info.ts";
import { maxCertificateBytes, oidOf, privateExtension, readCertificate } from "../../kms/ra-tls/extensions.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };

const code = (code: string) => expect.objectContaining({ code });
const scalar = generateP256Scalar((length) => new Uint8Array(randomBytes(length)));
const spki = p256Spki(scalar);
const now = new Date("2026-11-21T00:00:00Z");
const evidence: Evidence = {
  wire: "v0",
  platform: { kind: "nitro-enclave", nsmQuote: Uint8Array.of(0xd2, 1) },
  stack: { kind: "dstack", reportData: new Uint8Array(64), runtimeEvents: [], config: "{}" },
};
const envelope = encodeEvidence(evidence);
const appInfo = fromHex(vectors.app_info_msgpack[0]?.bytes ?? "", "vector");

async function certificate(...extensions: PrivateExtension[]): Promise<Uint8Array> {
  const request = { subject: { commonName: "peer" }, spki, extensions, now };
  const pem = await issueCertificate(request, { certificate: "self", pkcs8: encodePkcs8(scalar) });
  return new Uint8Array(new x509.X509Certificate(pem).rawData);
}

const wrapped = privateExtension;
const bare = (oid: string, value: Uint8Array) => ({ oid, value });

test("reads key, evidence, usage, app id and app info", async () => {
  const read = readCertificate(
    await certificate(
      wrapped(oidOf.appId, new Uint8Array(20).fill(7)),
      wrapped(oidOf.appInfo, appInfo),
      wrapped(oidOf.usage, utf8("app:custom")),
      wrapped(oidOf.attestation, envelope),
    ),
  );
  expect(read.spki).toEqual(spki);
  expect(read.evidence).toEqual(evidence);
  expect(read.usage).toBe("app:custom");
  expect(read.appId).toEqual(new Uint8Array(20).fill(7));
  expect(read.appInfo?.appId).toEqual(new Uint8Array(20).fill(0x11));
});

test("reads a certificate without private extensions as one without evidence", async () => {
  const nothing = { evidence: undefined, usage: undefined, appId: undefined, appInfo: undefined };
  expect(readCertificate(await certificate())).toEqual({ spki, ...nothing });
});

test("reads a certificate of the reference", () => {
  const der = new Uint8Array(new x509.X509Certificate(vectors.certificates[0]?.pem ?? "").rawData);
  expect(toHex(readCertificate(der).spki.subarray(-65))).toBe(vectors.certificates[0]?.public_point);
});

test("takes the envelope where the legacy pair stands beside it", async () => {
  const legacy = [wrapped(oidOf.tdxQuote, utf8("no quote")), wrapped(oidOf.tdxEventLog, utf8("no log"))];
  expect(readCertificate(await certificate(...legacy, wrapped(oidOf.attestation, envelope))).evidence).toEqual(evidence);
});

test("treats an event log without a quote as no evidence", async () => {
  expect(readCertificate(await certificate(wrapped(oidOf.tdxEventLog, utf8("[]")))).evidence).toBeUndefined();
});

describe("refuses", () => {
  const cases: [string, string, PrivateExtension[]][] = [
    ["a quote without its event log", "malformed.certificate", [wrapped(oidOf.tdxQuote, new Uint8Array(9))]],
    [
      "two copies of the evidence",
      "malformed.certificate",
      [wrapped(oidOf.attestation, envelope), wrapped(oidOf.attestation, envelope)],
    ],
    ["two copies of the app id", "malformed.certificate", [wrapped(oidOf.appId, utf8("a")), wrapped(oidOf.appId, utf8("b"))]],
    [
      "two copies of the usage",
      "malformed.certificate",
      [wrapped(oidOf.usage, utf8("kms:rpc")), wrapped(oidOf.usage, utf8("x"))],
    ],
    ["evidence that is not wrapped twice", "malformed.certificate", [bare(oidOf.attestation, envelope)]],
    [
      "a byte behind the wrapped payload",
      "malformed.certificate",
      [bare(oidOf.attestation, concat(wrapped("", envelope).value, Uint8Array.of(0)))],
    ],
    [
      "a wrapping with a longer length than needed",
      "malformed.certificate",
      [bare(oidOf.usage, Uint8Array.of(4, 0x81, 1, 0x78))],
    ],
    ["an empty extension", "malformed.certificate", [bare(oidOf.appId, new Uint8Array(0))]],
    ["an empty envelope", "malformed.envelope", [wrapped(oidOf.attestation, new Uint8Array(0))]],
    ["an envelope with a byte behind it", "malformed.envelope", [wrapped(oidOf.attestation, concat(envelope, Uint8Array.of(0)))]],
    ["a usage that is not UTF-8", "malformed.certificate", [wrapped(oidOf.usage, Uint8Array.of(0xff))]],
    ["app info that is no msgpack array", "malformed.certificate", [wrapped(oidOf.appInfo, utf8("{}"))]],
    [
      "a legacy quote that is none",
      "malformed.quote",
      [wrapped(oidOf.tdxQuote, utf8("q")), wrapped(oidOf.tdxEventLog, utf8("[]"))],
    ],
  ];
  test.each(cases)("%s", async (_name, expected, extensions) => {
    const der = await certificate(...extensions);
    expect(() => readCertificate(der)).toThrow(code(expected));
  });

  test("a byte behind the certificate", async () => {
    const der = await certificate();
    expect(() => readCertificate(concat(der, Uint8Array.of(0)))).toThrow(code("malformed.certificate"));
  });

  test("a certificate over the size limit, before reading it", () => {
    expect(() => readCertificate(new Uint8Array(maxCertificateBytes + 1))).toThrow(code("malformed.certificate"));
  });
});

test("tells the reference's text for a missing event log", async () => {
  const der = await certificate(wrapped(oidOf.tdxQuote, new Uint8Array(9)));
  expect(() => readCertificate(der)).toThrow("TDX event log missing");
});

describe("on hostile bytes", () => {
  let good: Uint8Array;
  beforeAll(async () => {
    good = await certificate(wrapped(oidOf.attestation, envelope), wrapped(oidOf.appInfo, appInfo));
  });
  const refusesOrReads = (der: Uint8Array) => {
    try {
      readCertificate(der);
    } catch (error) {
      expect(error).toMatchObject({ code: expect.stringMatching(/^malformed\./) });
    }
  };

  test("refuses every truncation", () => {
    for (let length = 0; length < good.length; length += 1) {
      expect(() => readCertificate(good.subarray(0, length))).toThrow(code("malformed.certificate"));
    }
  });

  test("fails only with a code of its own when bytes are changed", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), (changes) => {
        const changed = good.slice();
        for (const [at, byte] of changes) changed[at] = byte;
        refusesOrReads(changed);
      }),
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), refusesOrReads));
  });
});

describe("app info", () => {
  test.each(vectors.app_info_msgpack)("$description", (vector) => {
    const info = decodeAppInfo(fromHex(vector.bytes, "vector"));
    expect(toHex(info.composeHash)).toBe("22".repeat(32));
    expect(info.keyProviderInfo).toHaveLength(0);
    expect(toHex(encodeAppInfo(info))).toBe(vector.bytes);
  });

  test("of older releases has eight elements", () => {
    const eight = concat(Uint8Array.of(0x98), appInfo.subarray(1, -1));
    expect(decodeAppInfo(eight).initScriptHashes).toBeUndefined();
  });

  test.each([
    ["seven elements", concat(Uint8Array.of(0x97), appInfo.subarray(1, -3))],
    ["ten elements", concat(Uint8Array.of(0x9a), appInfo.subarray(1), Uint8Array.of(0xc0))],
    ["a byte behind it", concat(appInfo, Uint8Array.of(0xc0))],
    [
      "six init scripts",
      concat(appInfo.subarray(0, -1), Uint8Array.of(0x96), ...Array(6).fill(concat(Uint8Array.of(0xc4, 32), new Uint8Array(32)))),
    ],
    ["text in place of bytes", concat(Uint8Array.of(0x99, 0xa1, 0x61), appInfo.subarray(23))],
  ])("is refused with %s", (_name, bytes) => {
    expect(() => decodeAppInfo(bytes)).toThrow(code("malformed.certificate"));
  });
});
