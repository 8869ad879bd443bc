/** Certificates and revocation lists with one thing wrong: a test authority that writes any DER it is told to. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import * as der from "../../scripts/devnet/der.ts";

const ECDSA_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"));
const ECDSA_SHA384 = der.sequence(der.oid("1.2.840.10045.4.3.3"));

export const YEAR_2025 = new Date("2025-01-01T00:00:00Z");
export const YEAR_2030 = new Date("2030-01-01T00:00:00Z");

export interface Party {
  readonly name: der.Der;
  readonly spki: der.Der;
  /** SEQUENCE { r, s }. */
  readonly sign: (message: Uint8Array) => Uint8Array;
}

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export function party(commonName: string): Party & { readonly key: KeyPair } {
  const key = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = new Uint8Array(key.publicKey.export({ format: "der", type: "spki" }));
  return { name: nameOf(commonName), spki, key, sign: (message) => new Uint8Array(sign("sha256", message, key.privateKey)) };
}

export function nameOf(commonName: string): der.Der {
  return der.sequence(der.set(der.sequence(der.oid("2.5.4.3"), der.utf8String(commonName))));
}

export function extension(oid: string, value: der.Der, critical = false): der.Der {
  return der.sequence(der.oid(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(value));
}

export const ca = (pathLength?: number): der.Der =>
  extension("2.5.29.19", der.sequence(der.boolean(true), ...(pathLength === undefined ? [] : [der.integer(pathLength)])), true);
export const notCa: der.Der = extension("2.5.29.19", der.sequence(), true);
export const keyUsage = (bits: number, unused: number): der.Der =>
  extension("2.5.29.15", der.bitString(Uint8Array.of(bits), unused), true);
export const crlUri = (uri: string): der.Der => extension("2.5.29.31", der.sequence(der.sequence(pointName(uri))));
export const pointName = (uri: string): der.Der => der.explicit(0, der.explicit(0, der.implicit(6, Buffer.from(uri))));

export interface CertificatePlan {
  readonly subject: Party;
  readonly issuer: Party;
  readonly serial?: der.Der;
  readonly extensions?: readonly der.Der[];
  readonly version?: der.Der;
  readonly notBefore?: der.Der;
  readonly notAfter?: der.Der;
  readonly spki?: der.Der;
  readonly afterKey?: readonly der.Der[];
  readonly outerAlgorithm?: "sha256" | "sha384";
  readonly innerAlgorithm?: "sha256" | "sha384";
  readonly trailing?: Uint8Array;
  /** Instead of the extensions: everything behind the key. */
  readonly extensionBlock?: der.Der;
}

const nothing = new Uint8Array();
const algorithm = (name: "sha256" | "sha384" | undefined) => (name === "sha384" ? ECDSA_SHA384 : ECDSA_SHA256);

export function certificate(plan: CertificatePlan): Uint8Array {
  const { subject, issuer, extensions = [notCa] } = plan;
  const tbs = der.sequence(
    plan.version ?? der.explicit(0, der.integer(2)),
    plan.serial ?? der.integer(7),
    algorithm(plan.innerAlgorithm),
    issuer.name,
    der.sequence(plan.notBefore ?? der.time(YEAR_2025), plan.notAfter ?? der.time(YEAR_2030)),
    subject.name,
    plan.spki ?? subject.spki,
    ...(plan.afterKey ?? []),
    plan.extensionBlock ?? der.explicit(3, der.sequence(...extensions)),
  );
  return der.sequence(...signed(tbs, issuer, plan.outerAlgorithm), plan.trailing ?? nothing);
}

export interface CrlPlan {
  readonly issuer: Party;
  readonly version?: der.Der;
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date | "absent";
  /** DER of whole entries. */
  readonly entries?: readonly der.Der[];
  readonly extensions?: readonly der.Der[] | "absent";
  readonly outerAlgorithm?: "sha256" | "sha384";
  readonly signer?: Party;
  /** Instead of the extensions: everything behind the entries. */
  readonly extensionBlock?: der.Der;
  readonly trailing?: Uint8Array;
}

export const crlNumber: der.Der = extension("2.5.29.20", der.integer(1));

export function crl(plan: CrlPlan): Uint8Array {
  const { issuer, entries = [], extensions = [crlNumber], nextUpdate = YEAR_2030 } = plan;
  const tbs = der.sequence(
    plan.version ?? der.integer(1),
    ECDSA_SHA256,
    issuer.name,
    der.time(plan.thisUpdate ?? YEAR_2025),
    ...(nextUpdate === "absent" ? [] : [der.time(nextUpdate)]),
    ...(entries.length === 0 ? [] : [der.sequence(...entries)]),
    plan.extensionBlock ?? (extensions === "absent" ? nothing : der.explicit(0, der.sequence(...extensions))),
  );
  return der.sequence(...signed(tbs, plan.signer ?? issuer, plan.outerAlgorithm), plan.trailing ?? nothing);
}

export function entry(serial: number, ...extensions: readonly der.Der[]): der.Der {
  const list = extensions.length === 0 ? [] : [der.sequence(...extensions)];
  return der.sequence(der.integer(serial), der.time(YEAR_2025), ...list);
}

function signed(tbs: der.Der, issuer: Party, outer: "sha256" | "sha384" | undefined): der.Der[] {
  return [tbs, algorithm(outer), der.bitString(issuer.sign(tbs))];
}

export function pem(...certificates: readonly Uint8Array[]): string {
  return certificates.map((one) => der.pem("CERTIFICATE", one)).join("");
}
