/** What is kept between verifications: it saves work, is bounded, and is never a reason to accept. */
import { describe, expect, test } from "vitest";
import { MAX_REMEMBERED_PEM, openChains } from "../../kms/attestation/tdx/chain-verifier.ts";
import { KnownIssuers } from "../../kms/attestation/tdx/known-issuers.ts";
import { derOfRaw, isSignedRaw, keyFromPoint, keyFromSpki } from "../../kms/attestation/tdx/p256.ts";
import { certificateTexts, derFromBase64, derFromPem, MAX_PEM_CHARACTERS } from "../../kms/attestation/tdx/pem.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa } from "../../kms/attestation/tdx/trust-anchor.ts";
import { pckChainOf } from "../../kms/attestation/tdx/verify.ts";
import { parseCertificate } from "../../kms/attestation/tdx/x509.ts";
import { toHex } from "../../kms/bytes.ts";
import * as der from "../../scripts/devnet/der.ts";
import { anchor, anchorDer, leaf, leafPlan, middle, middlePlan, NOW, root, stranger } from "../support/path-world.ts";
import * as pki from "../support/tdx-pki.ts";
import { readCollateral, readQuote } from "../support/tdx-samples.ts";

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
const malformed = expect.objectContaining({ code: "malformed.certificate" });

describe("known issuers", () => {
  const caDer = pki.certificate(middlePlan);
  const leafDer = pki.certificate(leafPlan);

  test("are the anchor and what was kept", () => {
    const issuers = new KnownIssuers(anchor.certificate);
    const ca = parseCertificate(caDer);
    expect(issuers.find(base64(anchorDer))).toBe(anchor.certificate);
    expect(issuers.find(base64(caDer))).toBeUndefined();
    issuers.keep([ca]);
    expect(issuers.find(base64(caDer))).toBe(ca);
  });

  test("are sixteen at most", () => {
    const issuers = new KnownIssuers(anchor.certificate);
    const many = Array.from({ length: 16 }, (_, index) =>
      parseCertificate(pki.certificate({ ...middlePlan, serial: der.integer(index) })),
    );
    issuers.keep(many);
    const found = many.filter((each) => issuers.find(base64(each.raw)) === each);
    expect(found).toEqual(many.slice(0, 15));
  });

  test("need not prove a signature again to the same issuer, and must to another", () => {
    const issuers = new KnownIssuers(anchor.certificate);
    const [ca, other, below] = [parseCertificate(caDer), parseCertificate(caDer), parseCertificate(leafDer)];
    expect(issuers.isIssuedBy(below, anchor.certificate)).toBe(false);
    expect(issuers.isIssuedBy(below, ca)).toBe(true);
    below.signature.fill(0);
    expect(issuers.isIssuedBy(below, ca)).toBe(true);
    expect(issuers.isIssuedBy(below, other)).toBe(false);
  });
});

describe("chains of one pair of lists", () => {
  const lists = { rootCaCrl: pki.crl({ issuer: root }), pckCrl: pki.crl({ issuer: middle }) };
  const open = () => openChains(lists, anchor, new Date(NOW * 1000));
  const ca = pki.certificate(middlePlan);
  const chainOf = (serial: number) => pki.pem(pki.certificate({ ...leafPlan, serial: der.integer(serial) }), ca);

  test("are verified once, also for a later time, up to 64 and 16 KiB", () => {
    const chains = open();
    const first = chainOf(100);
    const known = chains.leafOf(first);
    expect(chains.leafOf(first)).toBe(known);
    expect(chains.later(NOW + 1).leafOf(first)).toBe(known);
    const long = (length: number) => first.padEnd(length, "\n");
    expect(chains.leafOf(long(MAX_REMEMBERED_PEM))).toBe(chains.leafOf(long(MAX_REMEMBERED_PEM)));
    expect(chains.leafOf(long(MAX_REMEMBERED_PEM + 1))).not.toBe(chains.leafOf(long(MAX_REMEMBERED_PEM + 1)));
    for (let serial = 101; serial < 163; serial++) chains.leafOf(chainOf(serial));
    expect(chains.leafOf(first)).toBe(known);
    chains.leafOf(chainOf(163));
    expect(chains.leafOf(first)).not.toBe(known);
  });

  test("are refused when a list names one of their certificates", () => {
    const naming = (issuer: pki.Party, serial: number) => pki.crl({ issuer, entries: [pki.entry(serial)] });
    const openWith = (change: Partial<typeof lists>) => openChains({ ...lists, ...change }, anchor, new Date(NOW * 1000));
    const revoked = expect.objectContaining({ code: "unproven.certificate-revoked" });
    expect(() => openWith({ pckCrl: naming(middle, 7) }).leafOf(chainOf(7))).toThrow(revoked);
    expect(() => openWith({ rootCaCrl: naming(root, 5) }).leafOf(chainOf(7))).toThrow(revoked);
    expect(() => openWith({ rootCaCrl: naming(root, 7) })).toThrow(revoked); // the anchor's own
    expect(openWith({ pckCrl: naming(middle, 8) }).leafOf(chainOf(7)).serial).toBe("07");
  });

  test.each(["rootCaCrl", "pckCrl"] as const)("end with %s, when that ends first", (member) => {
    const issuer = member === "pckCrl" ? middle : root;
    const early = { ...lists, [member]: pki.crl({ issuer, nextUpdate: new Date("2026-02-01T00:00:00Z") }) };
    expect(openChains(early, anchor, new Date(NOW * 1000)).endsAt).toBe(Date.parse("2026-02-01T00:00:00Z") / 1000);
  });

  test("end with their first certificate, whichever it is", () => {
    const soon = der.time(new Date("2027-01-01T00:00:00Z"));
    const end = Date.parse("2027-01-01T00:00:00Z") / 1000;
    expect(open().chainOf(pki.pem(pki.certificate({ ...leafPlan, notAfter: soon }), ca)).endsAt).toBe(end);
    expect(open().chainOf(pki.pem(pki.certificate(leafPlan), pki.certificate({ ...middlePlan, notAfter: soon }))).endsAt).toBe(
      end,
    );
    const pem = pki.pem(pki.certificate({ ...leafPlan, notAfter: soon }), ca);
    const chains = open();
    chains.leafOf(pem);
    expect(chains.later(end).leafOf(pem).isCa).toBe(false);
    expect(() => chains.later(end + 1).leafOf(pem)).toThrow(expect.objectContaining({ code: "unproven.certificate-chain" }));
  });

  test("name a platform that is read once", () => {
    const collateral = readCollateral("collateral-b0c06f-2025-06.json");
    const chains = openChains(collateral, intelSgxRootCa, new Date("2025-07-01T00:00:00Z"));
    const pem = pckChainOf(parseQuote(readQuote("tdx-v4-b0c06f-a.bin")));
    const { platform } = chains.pckOf(pem);
    expect(toHex(platform.fmspc)).toBe("b0c06f000000");
    expect(chains.pckOf(pem).platform).toBe(platform);
    expect(chains.pckOf(`${pem}\n`).platform).not.toBe(platform);
    expect(() => chains.pckOf(collateral.tcbInfoIssuerChain)).toThrow(malformed);
  });
});

describe("a PEM text", () => {
  const pem = pki.pem(anchorDer);

  test("is read whatever stands around its blocks, to 128 KiB", () => {
    const around = (length: number) => pem.padStart(length, "x");
    expect(certificateTexts(around(MAX_PEM_CHARACTERS))).toEqual([base64(anchorDer)]);
    expect(() => certificateTexts(around(MAX_PEM_CHARACTERS + 1))).toThrow(malformed);
    expect(certificateTexts(`a${pem}b${pem}\0`)).toHaveLength(2);
    expect(certificateTexts(pem.replaceAll("\n", " \t\r\n"))).toEqual([base64(anchorDer)]);
    expect(certificateTexts("")).toEqual([]);
  });

  test.each([
    ["does not end", `-----BEGIN CERTIFICATE-----\n${base64(anchorDer)}\n`],
    ["has a character that is none of base64", pem.replace("M", "*")],
    ["has padding in the middle", pem.replace("M", "=")],
    ["has bits behind its last byte", `-----BEGIN CERTIFICATE-----\nMB==\n-----END CERTIFICATE-----`],
    ["has no bytes", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"],
  ])("whose block %s is refused", (_, text) => {
    expect(() => certificateTexts(text).map(derFromBase64).map(parseCertificate)).toThrow(malformed);
  });

  // names are the same in every run: the certificates are not
  test.each([
    ["text in front", (text: string) => `x${text}`],
    ["white space around", (text: string) => ` \n${text}\n `],
  ])("of an anchor may have %s", (_, write) => {
    expect(derFromPem(Buffer.from(write(pem)))).toEqual(anchorDer);
  });

  test.each([
    ["text behind", (text: string) => `${text}x`],
    ["a second certificate", (text: string) => text + text],
    ["no certificate", () => "nothing"],
  ])("of an anchor may not have %s", (_, write) => {
    expect(() => derFromPem(Buffer.from(write(pem)))).toThrow(malformed);
  });

  test.each([
    ["a character in front that is none of base64", (text: string) => `*${text}`],
    ["a character behind that is none of base64", (text: string) => `${text}*`],
    ["more padding than it needs", (text: string) => `${text}====`],
    ["letters of the alphabet for addresses", (text: string) => `${text.replaceAll("+", "-").replaceAll("/", "_")}`],
  ])("has one spelling, and none with %s", (_, write) => {
    const canonical = base64(Uint8Array.of(0xfb, 0xff, 0xfe));
    expect(derFromBase64(canonical)).toHaveLength(3);
    expect(() => derFromBase64(write(canonical))).toThrow(malformed);
  });
});

describe("a P-256 key", () => {
  const [spki, other] = [leaf.spki, stranger.spki];

  test.each([
    ["of another length", Uint8Array.from([...spki, 0])],
    ["that is cut", spki.subarray(0, 90)],
    ["that is compressed", spki.with(26, 2)],
    ["of another curve", spki.with(22, 0)],
    ["at no point of the curve", spki.with(90, (spki[90] ?? 0) ^ 1)],
    ["of zeros", spki.slice().fill(0, 27)],
  ])("%s is refused", (_, bytes) => {
    expect(() => keyFromSpki(bytes, "malformed.key")).toThrow(expect.objectContaining({ code: "malformed.key" }));
  });

  test("is the same from its point", () => {
    expect(keyFromPoint(spki.subarray(27), "malformed.key").equals(keyFromSpki(spki, "malformed.key"))).toBe(true);
    expect(keyFromPoint(spki.subarray(27), "malformed.key").equals(keyFromSpki(other, "malformed.key"))).toBe(false);
  });

  test.each([
    ["3006020101020102", { 31: 1, 63: 2 }],
    ["3006020100020100", {}],
    ["30080202008002020080", { 31: 0x80, 63: 0x80 }],
    ["30080202010002020100", { 30: 1, 62: 1 }],
  ])("has the signature %s also in raw form", (hex, bytes) => {
    const raw = new Uint8Array(64);
    for (const [index, byte] of Object.entries(bytes)) raw[Number(index)] = byte;
    expect(toHex(derOfRaw(raw))).toBe(hex);
  });

  test("needs all 64 bytes of a raw signature", () => {
    const { signedPart, signature, attestationKey } = parseQuote(readQuote("tdx-v4-b0c06f-a.bin"));
    const key = keyFromPoint(attestationKey, "malformed.key");
    expect(isSignedRaw(signedPart, signature, key)).toBe(true);
    expect(isSignedRaw(signedPart, Uint8Array.from([...signature, 0]), key)).toBe(false);
    expect(isSignedRaw(signedPart, signature.subarray(0, 63), key)).toBe(false);
    expect(isSignedRaw(signedPart, new Uint8Array(64), key)).toBe(false);
    expect(isSignedRaw(signedPart, new Uint8Array(64).fill(0xff), key)).toBe(false);
  });
});
