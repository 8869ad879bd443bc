/** The certificate profile, byte by byte, against a real root of the reference and against OpenSSL. */
import "reflect-metadata";
import { createHash, randomBytes, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { describe, expect, test } from "vitest";
import { fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { makeRootCa, makeRpcLeaf, makeTempCa, maySignCertificates, renewalDue } from "../../kms/ca/kms-certificates.ts";
import { type CertificateRequest, issueCertificate, spkiOf } from "../../kms/ca/profile.ts";
import { DerReader, TAG } from "../../kms/der.ts";
import { encodePkcs8, p256Spki } from "../../kms/keys/kdf.ts";
import { generateP256Scalar, RootKeys } from "../../kms/keys/root-keys.ts";
import { privateExtension } from "../../kms/ra-tls/extensions.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };
import { openssl } from "../support/programs.ts";
import { scratchFolder } from "../support/scratch.ts";

const bytes = (hex: string) => fromHex(hex, "vector");
const random = (length: number) => new Uint8Array(randomBytes(length));
const now = new Date("2026-11-21T10:20:30.456Z");
const [real, realKeys] = [vectors.certificates[0], vectors.real_kms_app_keys[0]];
if (!real || !realKeys) throw new Error("the vectors have no real certificate");
const realRoot = new RootKeys(bytes(realKeys.root_ca_scalar), bytes(vectors.fixed_roots.k256_root_key));
const rpcSpki = p256Spki(generateP256Scalar(random));
const { file } = scratchFolder();

/** The TBS fields as they stand, each with tag and length. */
function fields(pem: string) {
  const certificate = new DerReader(new Uint8Array(new X509Certificate(pem).raw), "malformed.certificate").inside(
    TAG.sequence,
    "c",
  );
  const tbs = certificate.inside(TAG.sequence, "tbs");
  const raw = (field: string) => toHex(tbs.next(field).raw);
  const [version, serial, algorithm, issuer] = [raw("version"), raw("serial"), raw("algorithm"), raw("issuer")];
  const [validity, subject, spki, extensions] = [raw("validity"), raw("subject"), raw("spki"), raw("extensions")];
  tbs.end("tbs");
  return { version, serial, algorithm, issuer, validity, subject, spki, extensions };
}

const rpcLeaf = async (rootCaCertPem: string, domain: string, evidence?: Uint8Array) =>
  makeRpcLeaf({ root: realRoot, rootCaCertPem, rpcSpki, domain, evidence, now });

test("makes the root CA of a real KMS again, byte for byte except validity and signature", async () => {
  const made = fields(await makeRootCa(realRoot, now));
  const theirs = fields(real.pem);
  expect({ ...made, validity: "" }).toEqual({ ...theirs, validity: "" });
  expect(made.serial).toContain(real.serial);
  expect(made.extensions).toContain(real.ski);
  expect(made.extensions).toContain(real.key_usage_ext_value);
  expect(made.extensions).toContain(real.basic_constraints_ext_value);
});

test("starts validity in 1975 and ends it in ten years, as UTCTime before 2050 and GeneralizedTime after", async () => {
  const time = (text: string) => toHex(utf8(text));
  expect(fields(await makeRootCa(realRoot, now)).validity).toBe(`301e170d${time("750101000000Z")}170d${time("361118102030Z")}`);
  expect(fields(await makeRootCa(realRoot, new Date("2045-01-01T00:00:00Z"))).validity).toBe(
    `3020170d${time("750101000000Z")}180f${time("20541230000000Z")}`,
  );
});

test("gives the temp CA path length 0 and its own name", async () => {
  const pem = await makeTempCa(generateP256Scalar(random), now);
  const text = openssl("x509", "-in", file("temp.crt", pem), "-noout", "-text");
  expect(text).toContain("Subject: O = Dstack, CN = Dstack Client Temp CA");
  expect(text).toContain("CA:TRUE, pathlen:0");
});

test("writes the RPC leaf with SAN, key usage, usage and evidence, in this order and nothing else", async () => {
  const extensions = [
    "301a0603551d1104133011820f6b6d732e6578616d706c652e636f6d",
    "300f0603551d0f0101ff04050303078000",
    "3017060a2b0601040183e73d0104040904076b6d733a727063",
    "3013060a2b0601040183e73d010804050403010203",
  ];
  const leaf = fields(await rpcLeaf(real.pem, "kms.example.com", Uint8Array.of(1, 2, 3)));
  expect(leaf.extensions).toBe(`a35d305b${extensions.join("")}`);
  expect(leaf.spki).toBe(toHex(rpcSpki));
  expect(leaf.subject).toBe("301a3118301606035504030c0f6b6d732e6578616d706c652e636f6d");
  const bare = fields(await rpcLeaf(real.pem, "kms.example.com"));
  expect(bare.extensions).toBe(`a3483046${extensions.slice(0, 3).join("")}`);
});

test.each([
  ["192.0.2.7", "IP Address:192.0.2.7"],
  ["2001:db8::1", "IP Address:2001:DB8:0:0:0:0:0:1"],
  ["::", "IP Address:0:0:0:0:0:0:0:0"],
  ["::1", "IP Address:0:0:0:0:0:0:0:1"],
  ["1::", "IP Address:1:0:0:0:0:0:0:0"],
  ["1:2:3:4:5:6:7:8", "IP Address:1:2:3:4:5:6:7:8"],
  ["2001:DB8:0:0:1::", "IP Address:2001:DB8:0:0:1:0:0:0"],
  ["::ffff:192.0.2.7", "IP Address:0:0:0:0:0:FFFF:C000:207"],
  ["fe80::1%eth0", "DNS:fe80::1%eth0"],
  ["192.0.2.07", "DNS:192.0.2.07"],
  ["kms.example.com", "DNS:kms.example.com"],
])("names %s in the SAN as OpenSSL reads it", async (domain, expected) => {
  const text = openssl("x509", "-in", file("san.crt", await rpcLeaf(real.pem, domain)), "-noout", "-ext", "subjectAltName");
  expect(text).toContain(expected);
});

test("lets OpenSSL verify the leaf under a root of the reference, and shows its name", async () => {
  const root = file("root.crt", real.pem);
  const leaf = file("leaf.crt", await rpcLeaf(real.pem, "kms.example.com", new Uint8Array(40_000)));
  expect(openssl("verify", "-CAfile", file("made.crt", await makeRootCa(realRoot, now)), leaf)).toContain("OK");
  expect(openssl("verify", "-CAfile", root, leaf)).toContain("OK");
  expect(openssl("x509", "-in", root, "-noout", "-subject")).toBe("subject=O = Dstack, CN = Dstack KMS CA\n");
});

const nameTypes: [string, x509.JsonAttributeAndValue][] = [
  ["UTF8String", { CN: [{ utf8String: "Old CA" }] }],
  ["PrintableString", { CN: [{ printableString: "Old CA" }] }],
  ["BMPString", { CN: [{ bmpString: "Old CA" }] }],
];

test.each(nameTypes)("copies an issuer name of type %s without encoding it anew", async (_type, name) => {
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const ca = await x509.X509CertificateGenerator.createSelfSigned({ name: new x509.Name([name]), keys });
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const request: CertificateRequest = { subject: { commonName: "leaf" }, spki: rpcSpki, now };
  const leaf = await issueCertificate(request, { certificate: `${ca.toString("pem")}\n`, pkcs8 });
  expect(fields(leaf).issuer).toBe(fields(ca.toString("pem")).subject);
});

test("writes the serial as a minimal integer", async () => {
  for (let count = 0; count < 3_000; count += 1) {
    const pkcs8 = encodePkcs8(generateP256Scalar(random));
    const spki = spkiOf(pkcs8);
    const hash = createHash("sha256").update(spki.subarray(-65)).digest();
    hash[0] = (hash[0] ?? 0) & 0x7f;
    if (hash[0] !== 0) continue;
    const { serial } = fields(
      await issueCertificate({ subject: { commonName: "x" }, spki, now }, { certificate: "self", pkcs8 }),
    );
    const number = BigInt(`0x${hash.subarray(0, 20).toString("hex")}`);
    const digits = number.toString(16).padStart(Math.ceil(number.toString(16).length / 2) * 2, "0");
    const positive = Number.parseInt(digits.slice(0, 2), 16) >= 0x80 ? `00${digits}` : digits;
    expect(serial).toBe(`02${(positive.length / 2).toString(16).padStart(2, "0")}${positive}`);
    return;
  }
  expect.unreachable("no serial with a leading zero in 3000 keys, of which one in 128 has it");
});

test("writes extended key usage and validity where a request names them", async () => {
  const [notBefore, notAfter] = [new Date("2026-01-01T00:00:00Z"), new Date("2027-01-01T00:00:00Z")];
  const pkcs8 = encodePkcs8(realRoot.caScalar);
  const request: CertificateRequest = {
    subject: { organization: "Org", commonName: "app" },
    spki: rpcSpki,
    purposes: ["serverAuth", "clientAuth"],
    extensions: [privateExtension("1.3.6.1.4.1.62397.1.3", new Uint8Array(20))],
    now,
    notBefore,
    notAfter,
  };
  const pem = await issueCertificate(request, { certificate: real.pem, pkcs8 });
  const text = openssl("x509", "-in", file("app.crt", pem), "-noout", "-text");
  expect(text).toContain("TLS Web Server Authentication, TLS Web Client Authentication");
  expect(text).toContain("Not Before: Jan  1 00:00:00 2026 GMT");
  expect(text).toContain("Not After : Jan  1 00:00:00 2027 GMT");
  expect(text).toContain("Subject: O = Org, CN = app");
});

describe("a stored CA certificate", () => {
  test("is due for renewal within a year of its end", async () => {
    const end = new x509.X509Certificate(real.pem).notAfter.getTime();
    const day = 86_400_000;
    expect(renewalDue(real.pem, new Date(end - 366 * day))).toBe(false);
    expect(renewalDue(real.pem, new Date(end - 364 * day))).toBe(true);
    expect(renewalDue(real.pem, new Date(end + day))).toBe(true);
  });

  test("is known to be unfit for OpenSSL when old releases left out keyCertSign", async () => {
    const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
    const usage = new x509.Extension("2.5.29.15", true, bytes("0303078000"));
    const old = await x509.X509CertificateGenerator.createSelfSigned({ name: "CN=Old CA", keys, extensions: [usage] });
    expect(maySignCertificates(old.toString("pem"))).toBe(false);
    expect(maySignCertificates(real.pem)).toBe(true);
  });
});
