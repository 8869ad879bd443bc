/** The certificate path and revocation rules, each broken alone under an authority of our own. */
import { generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { parseChain, verifyPath } from "../../kms/attestation/tdx/x509-path.ts";
import * as der from "../../scripts/devnet/der.ts";
import {
  anchor,
  type Case,
  check,
  leaf,
  leafPlan,
  middle,
  middlePlan,
  NOW,
  root,
  stranger,
  verifyWorld,
} from "../support/path-world.ts";
import * as pki from "../support/tdx-pki.ts";

const year = (text: string) => der.time(new Date(text));
const seconds = (date: Date, offset: number) => date.getTime() / 1000 + offset;
const unknown = (critical: boolean) => pki.extension("1.2.3.4", der.integer(1), critical);
const serverAuth = pki.extension("2.5.29.37", der.sequence(der.oid("1.3.6.1.5.5.7.3.1")));
const clientAuth = pki.extension("2.5.29.37", der.sequence(der.oid("1.3.6.1.5.5.7.3.2")));
const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey.export({ format: "der", type: "spki" });
const offCurve = Uint8Array.from(leaf.key.publicKey.export({ format: "der", type: "spki" })).fill(1, 27);

const pathCases: readonly Case[] = [
  { name: "a good chain", code: "accepted" },
  { name: "a critical extension that nobody knows", code: "malformed.certificate", leaf: { extensions: [unknown(true)] } },
  { name: "an unknown extension that is not critical", code: "accepted", leaf: { extensions: [unknown(false)] } },
  {
    name: "an extension that occurs twice",
    code: "malformed.certificate",
    leaf: { extensions: [unknown(false), unknown(false)] },
  },
  {
    name: "name constraints",
    code: "malformed.certificate",
    middle: { extensions: [pki.ca(), pki.extension("2.5.29.30", der.sequence())] },
  },
  { name: "a leaf that is a CA", code: "unproven.certificate-chain", leaf: { extensions: [pki.ca()] } },
  { name: "a leaf without basic constraints", code: "accepted", leaf: { extensions: [unknown(false)] } },
  { name: "an intermediate that is no CA", code: "unproven.certificate-chain", middle: { extensions: [pki.notCa] } },
  {
    name: "an intermediate without basic constraints",
    code: "unproven.certificate-chain",
    middle: { extensions: [unknown(false)] },
  },
  {
    name: "an intermediate that may sign nothing",
    code: "unproven.certificate-chain",
    middle: { extensions: [pki.ca(), pki.keyUsage(0b0000_0010, 1)] },
  },
  {
    name: "an intermediate that may not sign lists",
    code: "unproven.crl",
    middle: { extensions: [pki.ca(), pki.keyUsage(0b0000_0100, 2)] },
  },
  {
    name: "an intermediate that may sign both",
    code: "accepted",
    middle: { extensions: [pki.ca(), pki.keyUsage(0b0000_0110, 1)] },
  },
  { name: "a leaf for servers", code: "accepted", leaf: { extensions: [serverAuth] } },
  { name: "a leaf for clients only", code: "unproven.certificate-chain", leaf: { extensions: [clientAuth] } },
  { name: "version 1", code: "malformed.certificate", leaf: { version: new Uint8Array() } },
  { name: "version 2", code: "malformed.certificate", leaf: { version: der.explicit(0, der.integer(1)) } },
  { name: "an issuer unique id", code: "malformed.certificate", leaf: { afterKey: [der.tlv(0x81, Uint8Array.of(0, 1))] } },
  { name: "a subject unique id", code: "malformed.certificate", leaf: { afterKey: [der.tlv(0x82, Uint8Array.of(0, 1))] } },
  { name: "another outer algorithm", code: "malformed.certificate", leaf: { outerAlgorithm: "sha384" } },
  {
    name: "another algorithm inside and outside",
    code: "malformed.certificate",
    leaf: { innerAlgorithm: "sha384", outerAlgorithm: "sha384" },
  },
  { name: "bytes after the signature", code: "malformed.certificate", leaf: { trailing: der.integer(0) } },
  { name: "a negative serial", code: "malformed.certificate", leaf: { serial: der.tlv(2, Uint8Array.of(0x80)) } },
  { name: "a serial that is padded", code: "malformed.certificate", leaf: { serial: der.tlv(2, Uint8Array.of(0, 1)) } },
  { name: "a serial of 20 bytes", code: "accepted", leaf: { serial: der.unsigned(new Uint8Array(20).fill(0xff)) } },
  { name: "a serial of 21 bytes", code: "malformed.certificate", leaf: { serial: der.unsigned(new Uint8Array(21).fill(0xff)) } },
  { name: "a P-384 key", code: "malformed.certificate", leaf: { spki: p384 } },
  { name: "a point that is not on the curve", code: "malformed.certificate", leaf: { spki: offCurve } },
  { name: "a leaf of a stranger", code: "unproven.certificate-chain", leaf: { issuer: { ...stranger, name: middle.name } } },
  {
    name: "an intermediate of a stranger with the root's name",
    code: "unproven.certificate-chain",
    middle: { issuer: stranger },
  },
  {
    name: "an issuer name in another string type",
    code: "unproven.certificate-chain",
    leaf: { issuer: { ...middle, name: printable("Platform CA") } },
  },
  {
    name: "a validity that ends before it begins",
    code: "malformed.certificate",
    leaf: { notBefore: year("2031-01-01T00:00:00Z") },
  },
  { name: "a leaf in its first second", code: "accepted", leaf: { notBefore: year("2026-01-01T00:00:00Z") } },
  {
    name: "a leaf before its first second",
    code: "unproven.certificate-chain",
    leaf: { notBefore: year("2026-01-01T00:00:01Z") },
  },
  { name: "a leaf in its last second", code: "accepted", leaf: { notAfter: year("2026-01-01T00:00:00Z") } },
  { name: "a leaf after its last second", code: "unproven.certificate-chain", leaf: { notAfter: year("2025-12-31T23:59:59Z") } },
  { name: "an intermediate in its last second", code: "accepted", middle: { notAfter: year("2026-01-01T00:00:00Z") } },
  {
    name: "an intermediate after its last second",
    code: "unproven.certificate-chain",
    middle: { notAfter: year("2025-12-31T23:59:59Z") },
  },
  { name: "an end in 2060", code: "accepted", leaf: { notAfter: year("2060-01-01T00:00:00Z") } },
  {
    name: "a time with an offset",
    code: "malformed.certificate",
    leaf: { notAfter: der.tlv(0x17, Buffer.from("300101000000+0000")) },
  },
  {
    name: "a day that does not exist",
    code: "malformed.certificate",
    leaf: { notAfter: der.tlv(0x17, Buffer.from("300230000000Z")) },
  },
];

function printable(text: string): der.Der {
  return der.sequence(der.set(der.sequence(der.oid("2.5.4.3"), der.tlv(0x13, Buffer.from(text)))));
}

describe("a certificate path", () => {
  test.each(pathCases)("$name: $code", check);

  test("takes six intermediates and no seventh", () => {
    for (const [count, code] of [
      [6, "accepted"],
      [7, "unproven.certificate-chain"],
    ] as const) {
      const parties = Array.from({ length: count }, (_, index) => pki.party(`CA ${index}`));
      const plans = parties.map((subject, index) => ({ subject, issuer: parties[index + 1] ?? root, extensions: [pki.ca()] }));
      const chain = [pki.certificate({ subject: leaf, issuer: parties[0] ?? root }), ...plans.map(pki.certificate)];
      const attempt = () => verifyPath(parseChain(pki.pem(...chain)), { anchor, at: NOW });
      if (code === "accepted") expect(attempt()).toHaveLength(count + 1);
      else expect(attempt).toThrow(expect.objectContaining({ code }));
    }
  });

  test("honours the path length of an intermediate", () => {
    const lower = pki.party("Lower CA");
    const chainWith = (pathLength: number) => [
      pki.certificate({ subject: leaf, issuer: lower }),
      pki.certificate({ subject: lower, issuer: middle, extensions: [pki.ca()] }),
      pki.certificate({ ...middlePlan, extensions: [pki.ca(pathLength)] }),
    ];
    const attempt = (pathLength: number) => verifyPath(parseChain(pki.pem(...chainWith(pathLength))), { anchor, at: NOW });
    expect(attempt(1)).toHaveLength(3);
    expect(() => attempt(0)).toThrow(expect.objectContaining({ code: "unproven.certificate-chain" }));
    const lowest = pki.party("Lowest CA");
    const longer = (pathLength: number) => [
      pki.certificate({ subject: leaf, issuer: lowest }),
      pki.certificate({ subject: lowest, issuer: lower, extensions: [pki.ca()] }),
      ...chainWith(pathLength).slice(1),
    ];
    const attemptLonger = (pathLength: number) => verifyPath(parseChain(pki.pem(...longer(pathLength))), { anchor, at: NOW });
    expect(attemptLonger(2)).toHaveLength(4);
    expect(() => attemptLonger(1)).toThrow(expect.objectContaining({ code: "unproven.certificate-chain" }));
  });

  test("ends on certificates that issue each other in circles", () => {
    const circle = Array.from({ length: 7 }, () => pki.certificate({ subject: middle, issuer: middle, extensions: [pki.ca()] }));
    const attempt = () => verifyPath(parseChain(pki.pem(pki.certificate(leafPlan), ...circle)), { anchor, at: NOW });
    expect(attempt).toThrow(expect.objectContaining({ code: "unproven.certificate-chain" }));
  });

  test("finds the right one of two candidates with the same name", () => {
    const other = pki.certificate({ ...middlePlan, subject: { ...stranger, name: middle.name } });
    const chain = [pki.certificate(leafPlan), other, pki.certificate(middlePlan)];
    expect(() => verifyWorld({ chain })).not.toThrow();
  });

  test("accepts a leaf that the anchor issued itself", () => {
    expect(() => verifyWorld({ chain: [pki.certificate({ subject: leaf, issuer: root })] })).not.toThrow();
  });
});

const LIST = "http://list.example/ca.crl";
const scope = (...parts: readonly der.Der[]) => pki.extension("2.5.29.28", der.sequence(...parts), true);
const named = pki.pointName(LIST);
const flag = (tag: number) => der.implicit(tag, Uint8Array.of(0xff));

const crlCases: readonly Case[] = [
  { name: "another serial listed", code: "accepted", pckCrl: { entries: [pki.entry(8)] } },
  { name: "the leaf listed", code: "unproven.certificate-revoked", pckCrl: { entries: [pki.entry(8), pki.entry(7)] } },
  {
    name: "the leaf listed with a reason",
    code: "unproven.certificate-revoked",
    pckCrl: { entries: [pki.entry(7, pki.extension("2.5.29.21", der.enumerated(8)))] },
  },
  { name: "the intermediate listed", code: "unproven.certificate-revoked", rootCrl: { entries: [pki.entry(5)] } },
  { name: "the anchor listed by itself", code: "unproven.certificate-revoked", rootCrl: { entries: [pki.entry(7)] } },
  { name: "a list signed by another", code: "unproven.crl", pckCrl: { signer: root } },
  { name: "a root list signed by another", code: "unproven.crl", rootCrl: { signer: middle } },
  { name: "no list of the issuer", code: "unproven.crl", pckCrl: { issuer: stranger, signer: stranger } },
  { name: "a list in its first second", code: "accepted", at: seconds(pki.YEAR_2025, 0) },
  { name: "a list before its first second", code: "unproven.crl", pckCrl: { thisUpdate: new Date((NOW + 1) * 1000) } },
  { name: "a list in its last second", code: "accepted", pckCrl: { nextUpdate: new Date((NOW + 1) * 1000) } },
  { name: "a list at its end", code: "unproven.crl", pckCrl: { nextUpdate: new Date(NOW * 1000) } },
  { name: "a root list at its end", code: "unproven.crl", rootCrl: { nextUpdate: new Date(NOW * 1000) } },
  { name: "a list without end", code: "malformed.collateral", pckCrl: { nextUpdate: "absent" } },
  { name: "a list of version 1", code: "malformed.collateral", pckCrl: { version: new Uint8Array() } },
  { name: "a list without extensions", code: "malformed.collateral", pckCrl: { extensions: "absent" } },
  { name: "a list with another outer algorithm", code: "malformed.collateral", pckCrl: { outerAlgorithm: "sha384" } },
  {
    name: "a delta list",
    code: "malformed.collateral",
    pckCrl: { extensions: [pki.crlNumber, pki.extension("2.5.29.27", der.integer(1), true)] },
  },
  {
    name: "a delta list that hides it",
    code: "malformed.collateral",
    pckCrl: { extensions: [pki.extension("2.5.29.27", der.integer(1))] },
  },
  {
    name: "a critical extension of the list that nobody knows",
    code: "malformed.collateral",
    pckCrl: { extensions: [unknown(true)] },
  },
  { name: "an unknown extension of the list", code: "accepted", pckCrl: { extensions: [pki.crlNumber, unknown(false)] } },
  {
    name: "a negative list number",
    code: "malformed.collateral",
    pckCrl: { extensions: [pki.extension("2.5.29.20", der.tlv(2, Uint8Array.of(0xff)))] },
  },
  {
    name: "a list number of 21 bytes",
    code: "malformed.collateral",
    pckCrl: { extensions: [pki.extension("2.5.29.20", der.unsigned(new Uint8Array(21).fill(1)))] },
  },
  {
    name: "an entry of another issuer",
    code: "malformed.collateral",
    pckCrl: { entries: [pki.entry(8, pki.extension("2.5.29.29", der.sequence()))] },
  },
  {
    name: "a critical extension of an entry that nobody knows",
    code: "malformed.collateral",
    pckCrl: { entries: [pki.entry(8, unknown(true))] },
  },
  { name: "an unknown extension of an entry", code: "accepted", pckCrl: { entries: [pki.entry(8, unknown(false))] } },
  { name: "a scope with a full name", code: "accepted", pckCrl: { extensions: [pki.crlNumber, scope(named)] } },
  { name: "a scope without name", code: "malformed.collateral", pckCrl: { extensions: [scope(flag(1))] } },
  { name: "a scope of users for a leaf", code: "accepted", pckCrl: { extensions: [scope(named, flag(1))] } },
  { name: "a scope of CAs for a leaf", code: "unproven.crl", pckCrl: { extensions: [scope(named, flag(2))] } },
  { name: "a scope of users and CAs", code: "malformed.collateral", pckCrl: { extensions: [scope(named, flag(1), flag(2))] } },
  {
    name: "a scope of some reasons",
    code: "malformed.collateral",
    pckCrl: { extensions: [scope(named, der.implicit(3, Uint8Array.of(0, 1)))] },
  },
  { name: "an indirect scope", code: "malformed.collateral", pckCrl: { extensions: [scope(named, flag(4))] } },
  { name: "a scope of attributes", code: "malformed.collateral", pckCrl: { extensions: [scope(named, flag(5))] } },
  {
    name: "a scope that names the certificate's list",
    code: "accepted",
    leaf: { extensions: [pki.crlUri(LIST)] },
    pckCrl: { extensions: [scope(named)] },
  },
  {
    name: "a scope that names another list",
    code: "unproven.crl",
    leaf: { extensions: [pki.crlUri("http://other.example/ca.crl")] },
    pckCrl: { extensions: [scope(named)] },
  },
];

describe("a revocation list", () => {
  // the good leaf and the anchor share serial 7, each with its own issuer's list
  test.each(crlCases)("$name: $code", check);
});
