/** One fault each in a quote, its collateral or its time; each with the code of the step that must notice. */
import { describe, expect, test } from "vitest";
import type { Collateral } from "../../kms/attestation/tdx/collateral.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import type { Code } from "../../kms/errors.ts";
import { expected, readCollateral, readQuote } from "../support/tdx-samples.ts";

const quoteBytes = readQuote("tdx-v4-b0c06f-a.bin");
const collateral = readCollateral("collateral-b0c06f-2025-06.json");
const AT = "2025-07-01T00:00:00Z";

interface Case {
  readonly name: string;
  readonly code: Code | "accepted";
  readonly quote?: (bytes: Uint8Array) => Uint8Array;
  readonly collateral?: Partial<Collateral>;
  readonly at?: string;
}

function outcome({ quote, collateral: changed, at }: Case): string {
  const bytes = quote ? quote(quoteBytes.slice()) : quoteBytes;
  const input = { collateral: { ...collateral, ...changed }, anchor: intelSgxRootCa, now: new Date(at ?? AT) };
  return verifyQuote({ quote: parseQuote(bytes), ...input }).status;
}

function flip(offset: number, bits = 1): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => bytes.with(offset, (bytes.at(offset) ?? 0) ^ bits);
}

function set(offset: number, ...values: number[]): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => Uint8Array.from([...bytes.subarray(0, offset), ...values, ...bytes.subarray(offset + values.length)]);
}

function flipped(bytes: Uint8Array, offset: number): Uint8Array {
  return flip(offset)(bytes.slice());
}

/** The quote with another PEM text, and every length around it put right. */
function withChain(pem: string): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => {
    const result = Uint8Array.from([...bytes.subarray(0, 770 + 488), ...Buffer.from(pem)]);
    const view = new DataView(result.buffer);
    view.setUint32(632, 134 + 488 + pem.length, true);
    view.setUint32(766, 488 + pem.length, true);
    view.setUint32(770 + 484, pem.length, true);
    return result;
  };
}

const blocks = collateral.tcbInfoIssuerChain.split(/(?=-----BEGIN)/);
const [leafPem = "", rootPem = ""] = blocks;
const pckPem = /-----BEGIN[\s\S]*-----END CERTIFICATE-----\n/.exec(Buffer.from(quoteBytes).toString("latin1"))?.[0] ?? "";
const [pckLeafPem = "", pckCaPem = "", pckRootPem = ""] = pckPem.split(/(?=-----BEGIN)/);
const sgx = readCollateral("collateral-sgx-00a067110000-2025-06.json");
const older = readCollateral("collateral-00806f05-2025-02.json");

const quoteCases: readonly Case[] = [
  { name: "nothing", code: "accepted" },
  { name: "1000 zero bytes appended", code: "accepted", quote: (bytes) => Uint8Array.from([...bytes, ...new Uint8Array(1000)]) },
  { name: "one byte that is not zero appended", code: "malformed.quote", quote: (bytes) => Uint8Array.from([...bytes, 1]) },
  { name: "the zero padding removed", code: "accepted", quote: (bytes) => bytes.subarray(0, 4936) },
  { name: "one byte of the auth data removed", code: "malformed.quote", quote: (bytes) => bytes.subarray(0, 4935) },
  { name: "one byte", code: "malformed.quote", quote: (bytes) => bytes.subarray(0, 1) },
  { name: "16 MiB", code: "malformed.quote", quote: () => new Uint8Array(16 * 1024 * 1024) },
  {
    name: "a chain of 200 certificates",
    code: "malformed.certificate",
    quote: withChain("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".repeat(200)),
  },
  { name: "an empty chain", code: "malformed.certificate", quote: withChain("") },
  { name: "no bytes at all", code: "malformed.quote", quote: () => new Uint8Array() },
  { name: "the body alone", code: "malformed.quote", quote: (bytes) => bytes.subarray(0, 632) },
  {
    name: "129 KiB of padding",
    code: "malformed.quote",
    quote: (bytes) => Uint8Array.from([...bytes, ...new Uint8Array(132096)]),
  },
  { name: "version 2", code: "malformed.quote", quote: set(0, 2) },
  { name: "version 6", code: "malformed.quote", quote: set(0, 6) },
  { name: "version 3 with a TDX type", code: "malformed.quote", quote: set(0, 3) },
  { name: "an unknown TEE type", code: "malformed.quote", quote: set(4, 0x82) },
  { name: "another QE vendor", code: "unproven.qe-vendor", quote: flip(12) },
  { name: "the last byte of the QE vendor", code: "unproven.qe-vendor", quote: flip(27) },
  { name: "attestation key type 3", code: "unproven.key-type", quote: set(2, 3) },
  { name: "the reserved bytes of the header", code: "unproven.quote-signature", quote: flip(8) },
  { name: "the user data of the header", code: "unproven.quote-signature", quote: flip(28) },
  { name: "MRTD", code: "unproven.quote-signature", quote: flip(184) },
  { name: "RTMR3", code: "unproven.quote-signature", quote: flip(520) },
  { name: "the report data", code: "unproven.quote-signature", quote: flip(600) },
  { name: "the last signed byte", code: "unproven.quote-signature", quote: flip(631) },
  { name: "the debug bit", code: "unproven.quote-signature", quote: flip(168) },
  { name: "r of the quote signature", code: "unproven.quote-signature", quote: flip(636) },
  { name: "s of the quote signature", code: "unproven.quote-signature", quote: flip(699) },
  { name: "a quote signature of zeros", code: "unproven.quote-signature", quote: set(636, ...new Uint8Array(64)) },
  { name: "the attestation key", code: "unproven.qe-report", quote: flip(700) },
  { name: "the length of the auth data", code: "malformed.quote", quote: set(632, 0xff, 0xff, 0xff, 0xff) },
  { name: "an auth data length that is one short", code: "malformed.quote", quote: set(632, 4299 & 0xff, 4299 >> 8) },
  { name: "the outer certification type", code: "accepted", quote: flip(764) },
  { name: "the size of the QE block", code: "malformed.quote", quote: flip(769, 0x80) },
  { name: "the first byte of the QE report", code: "unproven.qe-report", quote: flip(770) },
  { name: "MRSIGNER of the QE report", code: "unproven.qe-report", quote: flip(770 + 128) },
  { name: "the report data of the QE report", code: "unproven.qe-report", quote: flip(770 + 320) },
  { name: "the signature of the QE report", code: "unproven.qe-report", quote: flip(770 + 384) },
  { name: "the length of the QE auth data", code: "malformed.quote", quote: set(770 + 448, 0xff, 0xff) },
  { name: "the QE auth data", code: "unproven.qe-report", quote: flip(770 + 450) },
  { name: "inner certification type 4", code: "unproven.platform-unsupported", quote: set(770 + 482, 4) },
  { name: "inner certification type 1", code: "unproven.platform-unsupported", quote: set(770 + 482, 1) },
  { name: "inner certification type 2 of another length", code: "malformed.quote", quote: set(770 + 482, 2) },
  { name: "inner certification type 3 of another length", code: "malformed.quote", quote: set(770 + 482, 3) },
  { name: "the size of the certification data", code: "malformed.quote", quote: flip(770 + 486, 0x80) },
  { name: "a certificate of the PCK chain", code: "unproven.certificate-chain", quote: flip(1800, 0x01) },
];

describe("a change in the quote", () => {
  test.each(quoteCases)("$name: $code", (entry) => {
    if (entry.code === "accepted") expect(outcome(entry)).toBe("UpToDate");
    // a flipped base64 digit may also break the DER or a critical field before the signature
    else if (entry.name.startsWith("a certificate")) expect(() => outcome(entry)).toThrow(/./);
    else expect(() => outcome(entry)).toThrow(expect.objectContaining({ code: entry.code }));
  });
});

const collateralCases: readonly Case[] = [
  {
    name: "pck_crl ends in another byte",
    code: "unproven.crl",
    collateral: { pckCrl: flipped(collateral.pckCrl, -1 + collateral.pckCrl.length) },
  },
  {
    name: "root_ca_crl ends in another byte",
    code: "unproven.crl",
    collateral: { rootCaCrl: flipped(collateral.rootCaCrl, -1 + collateral.rootCaCrl.length) },
  },
  { name: "pck_crl is one zero byte", code: "malformed.collateral", collateral: { pckCrl: new Uint8Array(1) } },
  { name: "pck_crl is empty", code: "malformed.collateral", collateral: { pckCrl: new Uint8Array() } },
  { name: "root_ca_crl is empty", code: "malformed.collateral", collateral: { rootCaCrl: new Uint8Array() } },
  {
    name: "pck_crl has a trailing byte",
    code: "malformed.collateral",
    collateral: { pckCrl: Uint8Array.from([...collateral.pckCrl, 0]) },
  },
  { name: "pck_crl is over the limit", code: "malformed.collateral", collateral: { pckCrl: new Uint8Array(1024 * 1024 + 1) } },
  { name: "pck_crl is the root list again", code: "unproven.crl", collateral: { pckCrl: collateral.rootCaCrl } },
  { name: "root_ca_crl is the PCK list again", code: "unproven.crl", collateral: { rootCaCrl: collateral.pckCrl } },
  { name: "the lists are swapped", code: "accepted", collateral: { pckCrl: collateral.rootCaCrl, rootCaCrl: collateral.pckCrl } },
  { name: "pck_crl is an expired one of the same issuer", code: "unproven.crl", collateral: { pckCrl: older.pckCrl } },
  { name: "pck_crl is of the processor CA", code: "unproven.crl", collateral: { pckCrl: sgx.pckCrl } },
  { name: "tcb_info has a space more", code: "unproven.collateral-signature", collateral: { tcbInfo: `${collateral.tcbInfo} ` } },
  {
    name: "tcb_info says another status",
    code: "unproven.collateral-signature",
    collateral: { tcbInfo: collateral.tcbInfo.replace("OutOfDate", "UpToDate") },
  },
  { name: "tcb_info is no JSON", code: "malformed.collateral", collateral: { tcbInfo: "<html>" } },
  {
    name: "tcb_info repeats a member",
    code: "malformed.collateral",
    collateral: { tcbInfo: collateral.tcbInfo.replace("{", '{"id":"TDX",') },
  },
  {
    name: "tcb_info has an unknown status",
    code: "malformed.collateral",
    collateral: { tcbInfo: collateral.tcbInfo.replace('"UpToDate"', '"Fine"') },
  },
  {
    name: "tcb_info has an SVN of 256",
    code: "malformed.collateral",
    collateral: { tcbInfo: collateral.tcbInfo.replace('"svn":2', '"svn":256') },
  },
  {
    name: "tcb_info has a fraction",
    code: "malformed.collateral",
    collateral: { tcbInfo: collateral.tcbInfo.replace('"version":3', '"version":3.0') },
  },
  {
    name: "tcb_info has no date that exists",
    code: "malformed.collateral",
    collateral: { tcbInfo: collateral.tcbInfo.replace("2025-06-19T", "2025-02-30T") },
  },
  {
    name: "tcb_info lacks a member",
    code: "malformed.collateral",
    collateral: { tcbInfo: collateral.tcbInfo.replace('"pceId":"0000",', "") },
  },
  {
    name: "tcb_info is of another signature",
    code: "unproven.collateral-signature",
    collateral: { tcbInfoSignature: collateral.qeIdentitySignature },
  },
  {
    name: "the signature of tcb_info is zeros",
    code: "unproven.collateral-signature",
    collateral: { tcbInfoSignature: new Uint8Array(64) },
  },
  {
    name: "the signature of tcb_info is one byte short",
    code: "unproven.collateral-signature",
    collateral: { tcbInfoSignature: collateral.tcbInfoSignature.subarray(1) },
  },
  {
    name: "the TCB chain is reversed",
    code: "unproven.certificate-chain",
    collateral: { tcbInfoIssuerChain: rootPem + leafPem },
  },
  { name: "the TCB chain is the leaf alone", code: "accepted", collateral: { tcbInfoIssuerChain: leafPem } },
  { name: "the TCB chain is empty", code: "malformed.certificate", collateral: { tcbInfoIssuerChain: "" } },
  { name: "the TCB chain is the root alone", code: "unproven.certificate-chain", collateral: { tcbInfoIssuerChain: rootPem } },
  { name: "the TCB chain is the PCK chain", code: "unproven.collateral-signature", collateral: { tcbInfoIssuerChain: pckPem } },
  {
    name: "the TCB chain has 200 certificates",
    code: "malformed.certificate",
    collateral: { tcbInfoIssuerChain: leafPem.repeat(200) },
  },
  {
    name: "qe_identity has a space more",
    code: "unproven.collateral-signature",
    collateral: { qeIdentity: `${collateral.qeIdentity} ` },
  },
  {
    name: "qe_identity is of another enclave",
    code: "unproven.collateral-signature",
    collateral: { qeIdentity: collateral.qeIdentity.replace("DC9E", "DC9F") },
  },
  { name: "qe_identity is no JSON", code: "malformed.collateral", collateral: { qeIdentity: "" } },
  {
    name: "the signature of qe_identity is another one",
    code: "unproven.collateral-signature",
    collateral: { qeIdentitySignature: collateral.tcbInfoSignature },
  },
  {
    name: "the QE chain is reversed",
    code: "unproven.certificate-chain",
    collateral: { qeIdentityIssuerChain: rootPem + leafPem },
  },
  { name: "the collateral is of SGX", code: "unproven.qe-identity", collateral: sgx },
  {
    name: "the QE identity alone is of SGX",
    code: "unproven.qe-identity",
    collateral: { qeIdentity: sgx.qeIdentity, qeIdentitySignature: sgx.qeIdentitySignature },
  },
  {
    name: "the TCB info alone is of SGX",
    code: "unproven.platform",
    collateral: { tcbInfo: sgx.tcbInfo, tcbInfoSignature: sgx.tcbInfoSignature },
  },
  { name: "its own PCK chain beside it", code: "accepted", collateral: { pckCertificateChain: pckPem } },
  { name: "a PCK chain without root", code: "accepted", collateral: { pckCertificateChain: pckLeafPem + pckCaPem } },
  {
    name: "a PCK chain with candidates in another order",
    code: "accepted",
    collateral: { pckCertificateChain: pckLeafPem + pckRootPem + pckCaPem },
  },
  {
    name: "a PCK chain without its CA",
    code: "unproven.certificate-chain",
    collateral: { pckCertificateChain: pckLeafPem + pckRootPem },
  },
  {
    name: "a PCK chain that begins with the CA",
    code: "unproven.certificate-chain",
    collateral: { pckCertificateChain: pckCaPem + pckLeafPem },
  },
  { name: "a TCB signer as PCK", code: "malformed.certificate", collateral: { pckCertificateChain: leafPem } },
];

describe("a change in the collateral", () => {
  test.each(collateralCases)("$name: $code", (entry) => {
    if (entry.code === "accepted") expect(outcome(entry)).toBe("UpToDate");
    else expect(() => outcome(entry)).toThrow(expect.objectContaining({ code: entry.code }));
  });
});

/** The first and last second of each window, and the second beyond. The other parts of this collateral hold at these times, or fail with the same family. */
const windowCases: readonly Case[] = [
  { name: "QE identity issued this second", at: "2025-06-19T10:32:27Z", code: "accepted" },
  { name: "QE identity issued in the next second", at: "2025-06-19T10:32:26Z", code: "unproven.collateral-expired" },
  { name: "half a second before issue does not count", at: "2025-06-19T10:32:26.999Z", code: "unproven.collateral-expired" },
  { name: "TCB info issued in the next second", at: "2025-06-19T10:16:02Z", code: "unproven.collateral-expired" },
  { name: "the last second of the PCK list", at: "2025-07-19T10:00:34Z", code: "accepted" },
  { name: "within the last second of the PCK list", at: "2025-07-19T10:00:34.999Z", code: "accepted" },
  { name: "the end of the PCK list", at: "2025-07-19T10:00:35Z", code: "unproven.crl" },
  { name: "before the PCK list begins", at: "2025-06-19T10:00:34Z", code: "unproven.collateral-expired" },
  { name: "before anything was issued", at: "2025-06-19T10:00:00Z", code: "unproven.collateral-expired" },
  { name: "a month later", at: "2025-08-01T00:00:00Z", code: "unproven.collateral-expired" },
  { name: "after the end of the root list", at: "2026-04-03T11:21:57Z", code: "unproven.crl" },
  { name: "before the anchor begins", at: "2018-05-21T10:45:09Z", code: "unproven.certificate-chain" },
  { name: "after the anchor ends", at: "2050-01-01T00:00:00Z", code: "unproven.certificate-chain" },
  { name: "no time at all", at: "never", code: "unproven.certificate-chain" },
];

describe("a change of the time", () => {
  test.each(windowCases)("$name: $code", (entry) => {
    if (entry.code === "accepted") expect(outcome(entry)).toBe("UpToDate");
    else expect(() => outcome(entry)).toThrow(expect.objectContaining({ code: entry.code }));
  });

  const accepting = expected.samples.flatMap(({ file, runs = [] }) =>
    runs.filter(({ result }) => result === "accepted").map(({ collateral: name }) => ({ file, name })),
  );

  test.each(accepting)("$file holds with $name to the last usable second and no longer", ({ file, name }) => {
    const facts = expected.collateral[name];
    if (facts === undefined) throw new Error(`no facts of ${name}`);
    const at = (text: string, offset: number) => new Date(Date.parse(text) + offset * 1000);
    const attempt = (now: Date) =>
      verifyQuote({ quote: parseQuote(readQuote(file)), collateral: readCollateral(name), anchor: intelSgxRootCa, now }).status;
    const refusals = /^(unproven\.collateral-expired|unproven\.crl|unproven\.certificate-chain)$/;
    expect(attempt(at(facts.usable_to, 0))).toBeDefined();
    for (const now of [at(facts.usable_to, 1), at(facts.usable_from, -1)]) {
      expect(() => attempt(now)).toThrow(expect.objectContaining({ code: expect.stringMatching(refusals) }));
    }
  });
});
