/** More rules of certificates, the anchor and revocation lists, on both sides of each line. */
import { describe, expect, test } from "vitest";
import { openChains } from "../../kms/attestation/tdx/chain-verifier.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { parseCertificate } from "../../kms/attestation/tdx/x509.ts";
import { parseChain } from "../../kms/attestation/tdx/x509-path.ts";
import { KmsError } from "../../kms/errors.ts";
import * as der from "../../scripts/devnet/der.ts";
import { type Case, check, leaf, leafPlan, middle, middlePlan, NOW, root, stranger, verifyWorld } from "../support/path-world.ts";
import * as pki from "../support/tdx-pki.ts";

const year = (text: string) => der.time(new Date(text));
const usages = (...arcs: readonly string[]) => pki.extension("2.5.29.37", der.sequence(...arcs.map(der.oid)));
const serverAuth = "1.3.6.1.5.5.7.3.1";
const clientAuth = "1.3.6.1.5.5.7.3.2";
const anyUsage = "2.5.29.37.0";
const basic = (...parts: readonly der.Der[]) => pki.extension("2.5.29.19", der.sequence(...parts), true);
const names = pki.extension("2.5.29.17", der.sequence(der.implicit(2, Buffer.from("a.example"))), true);
const count = (length: number) => Array.from({ length }, (_, index) => pki.extension(`1.2.3.${index}`, der.integer(1)));
const uris = (...list: readonly string[]) =>
  pki.extension("2.5.29.31", der.sequence(...list.map((uri) => der.sequence(pki.pointName(uri)))));

const extensionCases: readonly (readonly [string, Case["code"], Pick<Case, "leaf" | "middle">])[] = [
  ["a leaf for servers and clients", "accepted", { leaf: { extensions: [usages(clientAuth, serverAuth)] } }],
  ["a leaf for any use, which names no servers", "unproven.certificate-chain", { leaf: { extensions: [usages(anyUsage)] } }],
  ["a leaf for no use", "unproven.certificate-chain", { leaf: { extensions: [usages()] } }],
  ["an intermediate for servers", "accepted", { middle: { extensions: [pki.ca(), usages(serverAuth)] } }],
  ["an intermediate for clients", "unproven.certificate-chain", { middle: { extensions: [pki.ca(), usages(clientAuth)] } }],
  [
    "bytes after the uses",
    "malformed.certificate",
    { leaf: { extensions: [trailing("2.5.29.37", der.sequence(der.oid(serverAuth)))] } },
  ],
  ["a critical alternative name", "accepted", { leaf: { extensions: [names] } }],
  ["a critical policy", "malformed.certificate", { leaf: { extensions: [pki.extension("2.5.29.32", der.sequence(), true)] } }],
  ["a policy", "accepted", { leaf: { extensions: [pki.extension("2.5.29.32", der.sequence())] } }],
  [
    "a critical key identifier",
    "malformed.certificate",
    { middle: { extensions: [pki.ca(), pki.extension("2.5.29.35", der.sequence(), true)] } },
  ],
  ["name constraints in a leaf", "malformed.certificate", { leaf: { extensions: [pki.extension("2.5.29.30", der.sequence())] } }],
  ["basic constraints twice", "malformed.certificate", { leaf: { extensions: [pki.notCa, pki.notCa] } }],
  ["a path length without a CA", "malformed.certificate", { leaf: { extensions: [basic(der.integer(0))] } }],
  [
    "bytes in the basic constraints",
    "malformed.certificate",
    { middle: { extensions: [basic(der.boolean(true), der.integer(1), der.integer(1))] } },
  ],
  [
    "bytes after the basic constraints",
    "malformed.certificate",
    { leaf: { extensions: [trailing("2.5.29.19", der.sequence())] } },
  ],
  ["a key usage with eight unused bits", "malformed.certificate", { leaf: { extensions: [pki.keyUsage(0x80, 8)] } }],
  ["a key usage with seven unused bits", "accepted", { leaf: { extensions: [pki.keyUsage(0x80, 7)] } }],
  [
    "bytes after the key usage",
    "malformed.certificate",
    { leaf: { extensions: [trailing("2.5.29.15", der.bitString(Uint8Array.of(0x80), 7))] } },
  ],
  ["a CA without any key usage bit", "unproven.certificate-chain", { middle: { extensions: [pki.ca(), pki.keyUsage(0, 0)] } }],
  ["no extension in the block", "accepted", { leaf: { extensions: [] } }],
  ["32 extensions", "accepted", { leaf: { extensions: count(32) } }],
  ["33 extensions", "malformed.certificate", { leaf: { extensions: count(33) } }],
  ["two blocks of extensions", "malformed.certificate", { leaf: { afterKey: [der.explicit(3, der.sequence(pki.notCa))] } }],
  [
    "a distribution point of some reasons",
    "malformed.certificate",
    { leaf: { extensions: [partialPoint(der.implicit(1, Uint8Array.of(0, 1)))] } },
  ],
  [
    "a distribution point of another issuer",
    "malformed.certificate",
    { leaf: { extensions: [partialPoint(der.explicit(2, der.sequence()))] } },
  ],
  ["an inner algorithm of its own", "malformed.certificate", { leaf: { innerAlgorithm: "sha384" } }],
  ["an intermediate in its first second", "accepted", { middle: { notBefore: year("2026-01-01T00:00:00Z") } }],
  [
    "an intermediate before its first second",
    "unproven.certificate-chain",
    { middle: { notBefore: year("2026-01-01T00:00:01Z") } },
  ],
  [
    "a validity of one second",
    "accepted",
    { leaf: { notBefore: year("2026-01-01T00:00:00Z"), notAfter: year("2026-01-01T00:00:00Z") } },
  ],
];

function trailing(oid: string, value: der.Der): der.Der {
  return pki.extension(oid, Uint8Array.from([...value, 5, 0]));
}

function partialPoint(part: der.Der): der.Der {
  return pki.extension("2.5.29.31", der.sequence(der.sequence(pki.pointName("http://list.example"), part)));
}

describe("a certificate path", () => {
  test.each(extensionCases)("with %s: %s", (_, code, world) => check({ name: "", code, ...world }));

  test("takes certificates of 16 KiB and none longer", () => {
    const ofLength = (padding: number) =>
      pki.certificate({ ...leafPlan, extensions: [pki.extension("1.2.3", der.octetString(new Uint8Array(padding)))] });
    const [limit, around] = [16 * 1024, ofLength(16_000).length - 16_000];
    // the length of a DER signature varies by some bytes
    expect(parseCertificate(ofLength(limit - around - 16)).isCa).toBe(false);
    expect(() => parseCertificate(ofLength(limit - around + 16))).toThrow(
      expect.objectContaining({ code: "malformed.certificate" }),
    );
  });

  test("takes eight certificates and no ninth, however small", () => {
    const one = pki.pem(pki.certificate(leafPlan));
    expect(parseChain(one.repeat(8))).toHaveLength(8);
    for (const length of [0, 9, 200]) {
      expect(() => parseChain(one.repeat(length))).toThrow(expect.objectContaining({ code: "malformed.certificate" }));
    }
  });

  test("needs the name of the issuer and not only its signature", () => {
    const other = pki.nameOf("Another CA");
    check({ name: "", code: "unproven.certificate-chain", leaf: { issuer: { ...middle, name: other } } });
    const ofAnchor = pki.certificate({ ...leafPlan, issuer: { ...root, name: other } });
    check({ name: "", code: "unproven.certificate-chain", chain: [ofAnchor] });
  });

  test("goes on to the next candidate where the first leads nowhere", () => {
    const nowhere = pki.certificate({ ...middlePlan, issuer: pki.party("Nobody") });
    const chain = [pki.certificate(leafPlan), nowhere, pki.certificate(middlePlan)];
    check({ name: "", code: "accepted", chain });
    check({ name: "", code: "unproven.certificate-chain", chain: chain.slice(0, 2) });
  });

  test.each<[string, readonly Uint8Array[], string]>([
    ["nobody issued it", [pki.certificate(leafPlan)], "UnknownIssuer"],
    ["the anchor's name is forged", [pki.certificate({ subject: leaf, issuer: stranger })], "not signed by the trust anchor"],
    [
      "its only issuer has ended",
      [pki.certificate(leafPlan), pki.certificate({ ...middlePlan, notAfter: year("2025-06-01T00:00:00Z") })],
      "CertExpired",
    ],
    [
      "its first issuer has ended and its second is no CA",
      [
        pki.certificate(leafPlan),
        pki.certificate({ ...middlePlan, notAfter: year("2025-06-01T00:00:00Z") }),
        pki.certificate({ ...middlePlan, extensions: [pki.notCa] }),
      ],
      "CertExpired",
    ],
  ])("says first why there is none: %s", (_, chain, why) => {
    const refusal = { code: "unproven.certificate-chain", message: expect.stringContaining(why) };
    expect(() => verifyWorld({ chain })).toThrow(expect.objectContaining(refusal));
  });

  test("refuses bytes after a certificate", () => {
    expect(() => parseCertificate(Uint8Array.from([...pki.certificate(leafPlan), 0]))).toThrow(
      expect.objectContaining({ code: "malformed.certificate" }),
    );
  });
});

const LIST = "http://list.example/ca.crl";
const scope = (...parts: readonly der.Der[]) => pki.extension("2.5.29.28", der.sequence(pki.pointName(LIST), ...parts), true);
const flag = (tag: number, value = 0xff) => der.implicit(tag, Uint8Array.of(value));
const reason = (critical: boolean) => pki.extension("2.5.29.21", der.enumerated(1), critical);
const invalidity = pki.extension("2.5.29.24", der.tlv(0x18, Buffer.from("20250101000000Z")), true);
const later = new Date((NOW + 1) * 1000);

const listCases: readonly (readonly [string, Case["code"], Omit<Case, "name" | "code">])[] = [
  ["an entry with a critical reason", "accepted", { pckCrl: { entries: [pki.entry(8, reason(true))] } }],
  ["an entry with a critical invalidity date", "accepted", { pckCrl: { entries: [pki.entry(8, invalidity)] } }],
  [
    "an entry that has its reason twice",
    "malformed.collateral",
    { pckCrl: { entries: [pki.entry(8, reason(false), reason(false))] } },
  ],
  [
    "a bad entry after a good one",
    "malformed.collateral",
    { pckCrl: { entries: [pki.entry(8, reason(false)), pki.entry(9, pki.extension("2.5.29.29", der.sequence()))] } },
  ],
  [
    "two bad entries that are alike",
    "malformed.collateral",
    {
      pckCrl: {
        entries: [
          pki.entry(8, pki.extension("1.2.3", der.integer(1), true)),
          pki.entry(9, pki.extension("1.2.3", der.integer(1), true)),
        ],
      },
    },
  ],
  [
    "the leaf listed behind entries like it",
    "unproven.certificate-revoked",
    { pckCrl: { entries: [pki.entry(8, reason(false)), pki.entry(7, reason(false))] } },
  ],
  [
    "a critical authority key identifier",
    "accepted",
    { pckCrl: { extensions: [pki.extension("2.5.29.35", der.sequence(), true)] } },
  ],
  ["no number", "accepted", { pckCrl: { extensions: [] } }],
  [
    "a number of 20 bytes",
    "accepted",
    { pckCrl: { extensions: [pki.extension("2.5.29.20", der.unsigned(new Uint8Array(20).fill(1)))] } },
  ],
  [
    "bytes after its number",
    "malformed.collateral",
    { pckCrl: { extensions: [pki.extension("2.5.29.20", Uint8Array.of(2, 1, 1, 5, 0))] } },
  ],
  ["its number twice", "malformed.collateral", { pckCrl: { extensions: [pki.crlNumber, pki.crlNumber] } }],
  ["a scope without flags, spelled out", "accepted", { pckCrl: { extensions: [scope(flag(1, 0), flag(2, 0))] } }],
  ["a scope of CAs for an intermediate", "accepted", { rootCrl: { extensions: [scope(flag(2))] }, leaf: {} }],
  ["a scope of everybody for an intermediate", "accepted", { rootCrl: { extensions: [scope()] } }],
  ["a scope of users for an intermediate", "unproven.crl", { rootCrl: { extensions: [scope(flag(1))] } }],
  [
    "one list in common",
    "accepted",
    { leaf: { extensions: [uris("http://other.example", LIST)] }, pckCrl: { extensions: [scope()] } },
  ],
  [
    "no list in common",
    "unproven.crl",
    { leaf: { extensions: [uris("http://other.example")] }, pckCrl: { extensions: [scope()] } },
  ],
  ["points that name no list", "unproven.crl", { leaf: { extensions: [uris()] }, pckCrl: { extensions: [scope()] } }],
  ["a root list from the future", "unproven.crl", { rootCrl: { thisUpdate: later } }],
  ["a root list of this second", "accepted", { rootCrl: { thisUpdate: new Date(NOW * 1000) } }],
  ["a PCK list of this second", "accepted", { pckCrl: { thisUpdate: new Date(NOW * 1000) } }],
  ["a root list in its last second", "accepted", { rootCrl: { nextUpdate: later } }],
  ["no root list", "unproven.crl", { rootCrl: { issuer: middle, signer: middle } }],
  ["a root list of a stranger with the root's name", "unproven.crl", { rootCrl: { issuer: stranger, signer: stranger } }],
  [
    "a good second list behind a bad first one of the same issuer",
    "unproven.crl",
    { rootCrl: { nextUpdate: new Date(NOW * 1000) }, pckCrl: { issuer: root, signer: root } },
  ],
];

describe("a revocation list", () => {
  test.each(listCases)("with %s: %s", (_, code, world) => check({ name: "", code, ...world }));
});

describe("the anchor", () => {
  const [begins, ends] = [new Date("2026-01-01T00:00:00Z"), new Date("2026-01-02T00:00:00Z")];
  const anchorWith = (plan: Partial<pki.CertificatePlan>) =>
    loadTrustAnchor(pki.certificate({ subject: root, issuer: root, extensions: [pki.ca()], ...plan }));
  const lists = {
    rootCaCrl: pki.crl({ issuer: root, nextUpdate: new Date("2040-01-01T00:00:00Z") }),
    pckCrl: pki.crl({ issuer: middle }),
  };
  const chain = pki.pem(pki.certificate(leafPlan), pki.certificate(middlePlan));

  test.each([
    [-1, false],
    [0, true],
    [86_400, true],
    [86_401, false],
  ])("%i seconds after it begins to be valid for a day: %s", (seconds, isValid) => {
    const anchor = anchorWith({ notBefore: der.time(begins), notAfter: der.time(ends) });
    const attempt = () => openChains(lists, anchor, new Date(begins.getTime() + seconds * 1000));
    if (isValid) expect(attempt().endsAt).toBe(ends.getTime() / 1000);
    else expect(attempt).toThrow(expect.objectContaining({ code: "unproven.certificate-chain" }));
  });

  test("may be without the right to sign lists, and signs them all the same", () => {
    const anchor = anchorWith({ extensions: [pki.ca(), pki.keyUsage(0b0000_0100, 2)] });
    expect(openChains(lists, anchor, begins).leafOf(chain).isCa).toBe(false);
  });

  test.each<[string, Partial<pki.CertificatePlan>, string]>([
    ["no CA", { extensions: [pki.notCa] }, "need a CA certificate"],
    ["issued by another name", { issuer: stranger, subject: middle }, "need a self-issued certificate"],
    ["signed by another key", { issuer: { ...stranger, name: root.name } }, "InvalidSignatureForPublicKey"],
  ])("is refused when it is %s", (_, plan, why) => {
    const refusal = { code: "malformed.certificate", message: `Failed to load root ca: ${why}` };
    expect(() => anchorWith(plan)).toThrow(expect.objectContaining({ ...refusal, cause: expect.any(KmsError) }));
  });

  test("vouches for a second leaf with the authorities that are known, and still judges their dates and the leaf", () => {
    const ofLeaf = (plan: Partial<pki.CertificatePlan>) =>
      pki.pem(pki.certificate({ ...leafPlan, ...plan }), pki.certificate({ ...middlePlan, notAfter: der.time(ends) }));
    const chains = openChains(lists, anchorWith({}), begins);
    const authority = pki.certificate({ ...middlePlan, notAfter: der.time(ends) });
    const chainOf = (plan: Partial<pki.CertificatePlan>) => pki.pem(pki.certificate({ ...leafPlan, ...plan }), authority);
    expect(chains.chainOf(chainOf({})).endsAt).toBe(ends.getTime() / 1000);
    expect(chains.leafOf(chainOf({ serial: der.integer(9) })).serial).toBe("09");
    const forged = chainOf({ issuer: { ...leaf, name: middle.name } });
    expect(() => chains.leafOf(forged)).toThrow(expect.objectContaining({ code: "unproven.certificate-chain" }));
    const after = chains.later(ends.getTime() / 1000 + 1);
    for (const pem of [chainOf({}), chainOf({ serial: der.integer(10) }), ofLeaf({})]) {
      expect(() => after.leafOf(pem)).toThrow(expect.objectContaining({ code: "unproven.certificate-chain" }));
    }
  });
});
