/** Every structure of a certificate and of a revocation list ends where its last field does: what is left over is refused, not skipped. */
import { describe, expect, test } from "vitest";
import { MAX_CRL_BYTES, parseCrl } from "../../kms/attestation/tdx/crl.ts";
import { isPckCertificate, parsePlatformIdentity, pckCaOf } from "../../kms/attestation/tdx/pck.ts";
import { parseCertificate } from "../../kms/attestation/tdx/x509.ts";
import * as der from "../../scripts/devnet/der.ts";
import { leafPlan, middle } from "../support/path-world.ts";
import * as pki from "../support/tdx-pki.ts";

const rest = der.tlv(5);
const join = (...parts: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
const before = der.time(pki.YEAR_2025);
const after = der.time(pki.YEAR_2030);
const certificateError = expect.objectContaining({ code: "malformed.certificate" });
const listError = expect.objectContaining({ code: "malformed.collateral" });

const certificate = (plan: Partial<pki.CertificatePlan>) => parseCertificate(pki.certificate({ ...leafPlan, ...plan }));
const withExtension = (oid: string, value: der.Der) => certificate({ extensions: [pki.extension(oid, value)] });
const uri = der.implicit(6, Buffer.from("http://list.example"));
const name = (...parts: readonly der.Der[]) => der.sequence(der.sequence(der.explicit(0, ...parts)));

describe("a certificate", () => {
  test("is read without them", () => {
    const points = name(der.explicit(0, der.implicit(2, Buffer.from("a.example")), uri, uri));
    expect(withExtension("2.5.29.31", points).crlUris).toEqual(["http://list.example", "http://list.example"]);
    expect(withExtension("2.5.29.31", der.sequence(der.sequence())).crlUris).toEqual([]);
    expect(withExtension("2.5.29.15", der.tlv(3, Uint8Array.of(0))).keyUsage).toEqual({ keyCertSign: false, cRLSign: false });
    expect(withExtension("2.5.29.37", der.sequence(der.oid("1.2.3"))).extendedKeyUsage).toEqual(["1.2.3"]);
    expect(certificate({})).toMatchObject({ crlUris: undefined, extendedKeyUsage: undefined, keyUsage: undefined });
  });

  const cases: readonly (readonly [string, () => unknown])[] = [
    ["its version", () => certificate({ version: der.explicit(0, der.integer(2), rest) })],
    ["its validity", () => certificate({ notAfter: join(after, rest) })],
    ["its extensions", () => certificate({ extensionBlock: der.explicit(3, der.sequence(pki.notCa), rest) })],
    ["its signed part", () => certificate({ extensionBlock: join(der.explicit(3, der.sequence(pki.notCa)), rest) })],
    ["its signature", () => certificate({ trailing: rest })],
    ["itself", () => parseCertificate(join(pki.certificate(leafPlan), rest))],
    ["an extension", () => certificate({ extensions: [der.sequence(der.oid("1.2.3"), der.octetString(rest), rest)] })],
    ["the distribution points", () => withExtension("2.5.29.31", join(name(der.explicit(0, uri)), rest))],
    ["a distribution point's name", () => withExtension("2.5.29.31", name(der.explicit(0, uri), rest))],
  ];
  test.each(cases)("with bytes after %s is refused", (_, attempt) => {
    expect(attempt).toThrow(certificateError);
  });

  const others: readonly (readonly [string, () => unknown])[] = [
    ["extensions that are none", () => certificate({ extensionBlock: rest })],
    ["no extensions", () => certificate({ extensionBlock: new Uint8Array() })],
    ["a name that is relative to its issuer", () => withExtension("2.5.29.31", name(der.explicit(1, der.set())))],
    ["a key usage without bits", () => withExtension("2.5.29.15", der.tlv(3))],
    ["a use that is no identifier", () => withExtension("2.5.29.37", der.sequence(rest))],
  ];
  test.each(others)("with %s is refused", (_, attempt) => {
    expect(attempt).toThrow(certificateError);
  });
});

const SGX = "1.2.840.113741.1.13.1";
const item = (suffix: string, value: der.Der) => der.sequence(der.oid(`${SGX}.${suffix}`), value);
const octets = (length: number) => der.octetString(new Uint8Array(length));
const tcb = (...more: readonly der.Der[]) => [item("2.17", der.integer(1)), item("2.18", octets(16)), ...more];
const platform = (tcbValue: der.Der, ...more: readonly der.Der[]) => [
  ...[item("1", octets(16)), item("2", tcbValue), item("3", octets(2)), item("4", octets(6)), item("5", der.enumerated(0))],
  ...more,
];
const platformOf = (value: der.Der) => parsePlatformIdentity(withExtension(SGX, value));

describe("the SGX extension", () => {
  test.each<[string, der.Der]>([
    ["itself", join(der.sequence(...platform(der.sequence(...tcb()))), rest)],
    ["its TCB", der.sequence(...platform(join(der.sequence(...tcb()), rest)))],
    ["an entry", der.sequence(...platform(der.sequence(...tcb()), der.sequence(der.oid(`${SGX}.6`), octets(1), rest)))],
    [
      "an entry of its TCB",
      der.sequence(...platform(der.sequence(...tcb(der.sequence(der.oid(`${SGX}.2.1`), octets(1), rest))))),
    ],
  ])("with bytes after %s is refused", (_, value) => {
    expect(() => platformOf(value)).toThrow(certificateError);
    expect(platformOf(der.sequence(...platform(der.sequence(...tcb())))).pceSvn).toBe(1);
  });
});

describe("the name of an issuer", () => {
  test.each([
    ["Intel SGX PCK Platform CA", "platform"],
    ["Intel SGX PCK Processor CA", "processor"],
    ["Intel SGX PCK Processor CA of a Platform", "processor"],
    ["Intel SGX Root CA", "processor"],
  ])("%s stands for the list of the %s CA", (text, ca) => {
    expect(pckCaOf({ issuer: pki.nameOf(text) })).toBe(ca);
  });

  test("says nothing of whether a certificate is a platform's", () => {
    expect(isPckCertificate(certificate({}))).toBe(false);
    expect(isPckCertificate(withExtension(SGX, rest))).toBe(true);
  });
});

const list = (plan: Partial<pki.CrlPlan>) => parseCrl(pki.crl({ issuer: middle, ...plan }), "crl");
const entry = (...more: readonly der.Der[]) => der.sequence(der.integer(8), before, ...more);
const scope = (...parts: readonly der.Der[]) => list({ extensions: [pki.extension("2.5.29.28", join(...parts))] });
const flag = (tag: number, value: number) => der.implicit(tag, Uint8Array.of(value));
const listName = pki.pointName("http://list.example");

describe("a revocation list", () => {
  test("is read without them", () => {
    expect(list({ entries: [pki.entry(8), pki.entry(9)] })).toMatchObject({ number: "01", revoked: new Set(["08", "09"]) });
    expect(list({ extensions: [] })).toMatchObject({ number: undefined, scope: undefined });
    expect(list({}).revoked.size).toBe(0);
    expect(list({}).thisUpdate).toBe(pki.YEAR_2025.getTime() / 1000);
    expect(list({}).nextUpdate).toBe(pki.YEAR_2030.getTime() / 1000);
  });

  test.each<[string, readonly der.Der[], "users" | "cas" | undefined]>([
    ["nobody", [], undefined],
    ["users", [flag(1, 0xff)], "users"],
    ["authorities", [flag(2, 0xff)], "cas"],
    ["users, with every other flag off", [flag(1, 0xff), flag(2, 0), flag(4, 0), flag(5, 0)], "users"],
    ["nobody, with every flag off", [flag(1, 0), flag(2, 0), flag(4, 0), flag(5, 0)], undefined],
  ])("may be narrowed to %s", (_, flags, only) => {
    expect(scope(der.sequence(listName, ...flags)).scope).toEqual({ uris: ["http://list.example"], only });
  });

  test.each<[string, readonly der.Der[], string]>([
    ["some reasons", [der.implicit(3, Uint8Array.of(0, 1))], "UnsupportedRevocationReasonsPartitioning"],
    ["other issuers", [flag(4, 0xff)], "UnsupportedIndirectCrl"],
    ["attributes", [flag(5, 0xff)], "MalformedExtensions"],
    ["users and authorities", [flag(1, 0xff), flag(2, 0xff)], "MalformedExtensions"],
  ])("may not be narrowed to %s", (_, flags, word) => {
    const attempt = () => scope(der.sequence(listName, ...flags));
    expect(attempt).toThrow(expect.objectContaining({ code: "malformed.collateral", message: expect.stringContaining(word) }));
  });

  const cases: readonly (readonly [string, () => unknown])[] = [
    ["itself", () => parseCrl(join(pki.crl({ issuer: middle }), rest), "crl")],
    ["its signature", () => list({ trailing: rest })],
    ["its signed part", () => list({ extensionBlock: join(der.explicit(0, der.sequence()), rest) })],
    ["its extensions", () => list({ extensionBlock: der.explicit(0, der.sequence(), rest) })],
    ["the extensions of an entry", () => list({ entries: [entry(der.sequence(), rest)] })],
    ["its scope", () => scope(der.sequence(listName), rest)],
    ["the last flag of its scope", () => scope(der.sequence(listName, flag(5, 0), rest))],
  ];
  test.each(cases)("with bytes after %s is refused", (_, attempt) => {
    expect(attempt).toThrow(listError);
  });

  const others: readonly (readonly [string, () => unknown])[] = [
    ["version 3", () => list({ version: der.integer(2) })],
    ["version 1, spelled out", () => list({ version: der.integer(0) })],
    ["an entry without date", () => list({ entries: [der.sequence(der.integer(8))] })],
    ["an entry with a date that is none", () => list({ entries: [der.sequence(der.integer(8), rest)] })],
    [
      "an entry with a serial of 21 bytes",
      () => list({ entries: [der.sequence(der.unsigned(new Uint8Array(21).fill(1)), before)] }),
    ],
    ["extensions of an entry that are none", () => list({ entries: [entry(rest)] })],
    [
      "an entry with an unused, critical delta indicator",
      () => list({ entries: [entry(der.sequence(pki.extension("2.5.29.27", rest, true)))] }),
    ],
    [
      "an entry with a critical list number",
      () => list({ entries: [entry(der.sequence(pki.extension("2.5.29.20", der.integer(1), true)))] }),
    ],
    ["a critical reason", () => list({ extensions: [pki.extension("2.5.29.21", der.enumerated(1), true)] })],
    ["a flag of another value", () => scope(der.sequence(listName, flag(1, 1)))],
  ];
  test.each(others)("with %s is refused", (_, attempt) => {
    expect(attempt).toThrow(listError);
  });

  test("has 1 MiB at most", () => {
    const oversized = new Uint8Array(MAX_CRL_BYTES + 1);
    const isTooLong = expect.objectContaining({ code: "malformed.collateral", message: expect.stringContaining("1048577") });
    expect(() => parseCrl(oversized, "crl")).toThrow(isTooLong);
    // read, and then found to be none
    const atLimit = expect.objectContaining({ message: expect.not.stringContaining("1048576 bytes") });
    expect(() => parseCrl(oversized.subarray(1), "crl")).toThrow(atLimit);
  });
});
