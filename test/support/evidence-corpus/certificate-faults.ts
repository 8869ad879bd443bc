/** What can be wrong with a certificate that is signed all the same, and what may differ without being wrong. */
import * as der from "../../../scripts/devnet/der.ts";
import * as pki from "../tdx-pki.ts";
import { parties, second } from "./world.ts";

type Plan = { -readonly [K in keyof pki.CertificatePlan]?: pki.CertificatePlan[K] | undefined };

export interface Fault {
  readonly name: string;
  /** Absent where the certificate is good. */
  readonly code?: string;
  readonly plan: Plan;
  readonly stricter?: string;
}

const malformed = "malformed.certificate";
const chain = "unproven.certificate-chain";
const at = (offset: number) => der.time(second(offset));
const eku = (...purposes: readonly number[]) =>
  pki.extension("2.5.29.37", der.sequence(...purposes.map((purpose) => der.oid(`1.3.6.1.5.5.7.3.${purpose}`))));
const unknown = (critical: boolean) => pki.extension("1.2.3.4.5", der.integer(1), critical);
const bytes = (tag: number, ...content: readonly number[]) => der.tlv(tag, Uint8Array.from(content));

const ecKey = (curve: string, point: Uint8Array) =>
  der.sequence(der.sequence(der.oid("1.2.840.10045.2.1"), der.oid(curve)), der.bitString(point));
const p256 = "1.2.840.10045.3.1.7";
/** The generator of P-384, a point like any other. */
const p384Point = Buffer.from(
  "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7" +
    "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
  "hex",
);

/** Faults and freedoms of every certificate below the anchor; `extensions` are those it has to have. */
export function certificateFaults(extensions: readonly der.Der[]): Fault[] {
  const more = (...added: readonly der.Der[]): Plan => ({ extensions: [...extensions, ...added] });
  return [
    { name: "begins in the next second", code: chain, plan: { notBefore: at(1) } },
    { name: "begins next year", code: chain, plan: { notBefore: at(31_536_000) } },
    { name: "begins in this second", plan: { notBefore: at(0) } },
    { name: "ended a second ago", code: chain, plan: { notAfter: at(-1) } },
    { name: "ended last year", code: chain, plan: { notAfter: at(-31_536_000) } },
    { name: "ends in this second", plan: { notAfter: at(0) } },
    { name: "ends before it begins", code: malformed, plan: { notBefore: at(10), notAfter: at(-10) } },
    { name: "has a date that does not exist", code: malformed, plan: { notAfter: der.tlv(0x17, Buffer.from("350230000000Z")) } },
    { name: "has a date with an offset", code: malformed, plan: { notAfter: der.tlv(0x17, Buffer.from("3501010000+0100")) } },
    { name: "is of version 1", code: malformed, plan: { version: der.explicit(0, der.integer(0)) } },
    { name: "is of version 2", code: malformed, plan: { version: der.explicit(0, der.integer(1)) } },
    { name: "is of version 4", code: malformed, plan: { version: der.explicit(0, der.integer(3)) } },
    { name: "has no version", code: malformed, plan: { version: new Uint8Array() } },
    { name: "has a negative serial", code: malformed, plan: { serial: bytes(0x02, 0x80) } },
    { name: "has a serial of 21 bytes", code: malformed, plan: { serial: bytes(0x02, ...new Array<number>(21).fill(1)) } },
    { name: "has a serial of 20 bytes", plan: { serial: bytes(0x02, ...new Array<number>(20).fill(1)) } },
    { name: "has a serial without bytes", code: malformed, plan: { serial: bytes(0x02) } },
    { name: "names SHA-384 outside and SHA-256 inside", code: malformed, plan: { outerAlgorithm: "sha384" } },
    { name: "names SHA-256 outside and SHA-384 inside", code: malformed, plan: { innerAlgorithm: "sha384" } },
    {
      name: "names SHA-384 twice over a SHA-256 signature",
      code: malformed,
      plan: { outerAlgorithm: "sha384", innerAlgorithm: "sha384" },
    },
    { name: "has an issuer unique id", code: malformed, plan: { afterKey: [bytes(0x81, 0, 1)] } },
    { name: "has a subject unique id", code: malformed, plan: { afterKey: [bytes(0x82, 0, 1)] } },
    { name: "has bytes behind its signature", code: malformed, plan: { trailing: Uint8Array.of(5, 0) } },
    { name: "has a critical extension that nobody knows", code: malformed, plan: more(unknown(true)) },
    { name: "has an extension that nobody knows and that is not critical", plan: more(unknown(false)) },
    { name: "has one extension twice", code: malformed, plan: more(unknown(false), unknown(false)) },
    { name: "has critical certificate policies", code: malformed, plan: more(pki.extension("2.5.29.32", der.sequence(), true)) },
    {
      name: "has a critical subject alternative name, which is known",
      plan: more(pki.extension("2.5.29.17", der.sequence(der.implicit(2, Buffer.from("a.test"))), true)),
    },
    { name: "may only be used by TLS clients", code: chain, plan: more(eku(2)) },
    { name: "may be used by no one", code: chain, plan: more(pki.extension("2.5.29.37", der.sequence())) },
    { name: "may be used by TLS servers and clients", plan: more(eku(2, 1)) },
    { name: "has a P-384 key", code: malformed, plan: { spki: ecKey("1.3.132.0.34", p384Point) } },
    {
      name: "has a key that is no point of the curve",
      code: malformed,
      plan: { spki: ecKey(p256, Uint8Array.from([4, ...new Array<number>(64).fill(1)])) },
    },
    {
      name: "has a compressed key",
      code: malformed,
      plan: { spki: ecKey(p256, Uint8Array.from([2, ...parties.pck.point.subarray(0, 32)])) },
    },
    { name: "has an Ed25519 key", code: malformed, plan: { spki: ed25519 } },
    { name: "has another issuer's name", code: chain, plan: { issuer: { ...parties.root, name: pki.nameOf("Somebody Else") } } },
    { name: "has an empty issuer", code: chain, plan: { issuer: { ...parties.root, name: der.sequence() } } },
    {
      name: "has name constraints",
      code: malformed,
      plan: more(pki.extension("2.5.29.30", der.sequence())),
      stricter: "Intel uses none, and the strict reading of an extension that is not understood is a refusal",
    },
  ];
}

/** An Ed25519 key of 32 given bytes; only its form counts. */
const ed25519 = der.sequence(der.sequence(der.oid("1.3.101.112")), der.bitString(new Uint8Array(32).fill(9)));

/** Only where the issuer is known: the right name over the wrong key. */
export const signedByStranger = (issuer: pki.Party): Fault => ({
  name: "is signed by a stranger under its issuer's name",
  code: chain,
  plan: { issuer: { ...parties.stranger, name: issuer.name } },
});

export const leafFaults: readonly Fault[] = [
  { name: "is a CA", code: chain, plan: { extensions: [pki.ca()] } },
  { name: "is a CA with a path length", code: chain, plan: { extensions: [pki.ca(0)] } },
];

export const caExtensions = [pki.keyUsage(0b0000_0110, 1), pki.ca(0)];
const noCertSign = "RFC 5280 6.1.4 (n); the reference leaves this bit unread";

export const caFaults: readonly Fault[] = [
  { name: "is no CA", code: chain, plan: { extensions: [pki.keyUsage(0b0000_0110, 1), pki.notCa] } },
  { name: "has no basic constraints", code: chain, plan: { extensions: [pki.keyUsage(0b0000_0110, 1)] } },
  {
    name: "has a path length but is no CA",
    code: malformed,
    plan: { extensions: [pki.extension("2.5.29.19", der.sequence(der.integer(0)), true)] },
  },
  {
    name: "says FALSE where the default is left out",
    code: chain,
    plan: { extensions: [pki.extension("2.5.29.19", der.sequence(der.boolean(false)), true)] },
  },
  {
    name: "may not sign certificates",
    code: chain,
    plan: { extensions: [pki.keyUsage(0b0000_0010, 1), pki.ca(0)] },
    stricter: noCertSign,
  },
  {
    name: "may not sign revocation lists",
    code: "unproven.crl",
    plan: { extensions: [pki.keyUsage(0b0000_0100, 2), pki.ca(0)] },
  },
  { name: "has no key usage", plan: { extensions: [pki.ca(0)] } },
  { name: "has no path length", plan: { extensions: [pki.keyUsage(0b0000_0110, 1), pki.ca()] } },
  { name: "has a path length of 5", plan: { extensions: [pki.keyUsage(0b0000_0110, 1), pki.ca(5)] } },
];
