/** The one certificate profile: every certificate of this project is made here, byte for byte as the reference lays them out. */
import "reflect-metadata";
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  X509Certificate as NodeCertificate,
  sign,
} from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import { fromHex, utf8 } from "../bytes.ts";
import { DerReader, TAG } from "../der.ts";
import * as der from "../der-write.ts";
import { KmsError } from "../errors.ts";

/** What the certificate says; serial, key usage and key identifier follow from it. */
export interface CertificateRequest {
  /** Names, or the certificate in PEM whose own subject is kept, byte for byte. */
  readonly subject: { readonly organization?: string; readonly commonName: string } | string;
  readonly spki: Uint8Array;
  /** A CA certificate with this path length; a leaf has no basic constraints at all. */
  readonly pathLength?: 0 | 1;
  /** DNS names, or IP addresses where the text is one. */
  readonly altNames?: readonly string[];
  readonly purposes?: readonly ("serverAuth" | "clientAuth")[];
  /** Private extensions, in this order, after all others. */
  readonly extensions?: readonly PrivateExtension[];
  /** `notAfter` is counted from here unless given. */
  readonly now: Date;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** A non-critical extension; `value` is the whole content of extnValue. */
export interface PrivateExtension {
  readonly oid: string;
  readonly value: Uint8Array;
}

/** Who signs: the certificate whose subject becomes the issuer name, or "self", and the key as PKCS#8. */
export interface Signer {
  readonly certificate: string | "self";
  readonly pkcs8: Uint8Array;
}

const defaultNotBefore = new Date("1975-01-01T00:00:00Z");
const defaultDays = 3650;
const dayMs = 86_400_000;
const serialLength = 20;
const keyIdLength = 20;

const VERSION_3 = der.explicit(0, der.smallInteger(2));
const ECDSA_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"));

const oids = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  keyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  altNames: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  purposes: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;
/** BIT STRINGs of nine bits, as the reference writes them; the shortest DER would be one byte. */
const keyUsageBits = {
  authority: fromHex("0303078600", "key usage", 5), // digitalSignature, keyCertSign, cRLSign
  leaf: fromHex("0303078000", "key usage", 5), // digitalSignature
} as const;
/** Choices of GeneralName (RFC 5280 4.2.1.6). */
const generalName = { dns: 2, ip: 7 } as const;

/** Issues the certificate and returns it as PEM. */
export async function issueCertificate(request: CertificateRequest, signer: Signer): Promise<string> {
  const notBefore = request.notBefore ?? defaultNotBefore;
  const notAfter = request.notAfter ?? new Date(request.now.getTime() + defaultDays * dayMs);
  if (notBefore > notAfter) throw new KmsError("malformed.certificate", "certificate: not_after is before not_before");
  const subject = nameOf(request.subject);
  const tbs = der.sequence(
    VERSION_3,
    der.unsigned(serialOf(request.spki)),
    ECDSA_SHA256,
    // Rust peers match names byte by byte: the issuer's own encoding is taken over, whatever its string type
    signer.certificate === "self" ? subject : subjectOf(signer.certificate),
    der.sequence(der.time(notBefore), der.time(notAfter)),
    subject,
    request.spki,
    der.explicit(3, der.sequence(...extensionsOf(request))),
  );
  const signature = sign("sha256", tbs, { key: privateKeyOf(signer.pkcs8), dsaEncoding: "der" });
  return encodePem("CERTIFICATE", der.sequence(tbs, ECDSA_SHA256, der.bitString(signature)));
}

/** PEM with 64 columns, LF and a final newline. */
export function encodePem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

/** SubjectPublicKeyInfo of a PKCS#8 private key. */
export function spkiOf(pkcs8: Uint8Array): Uint8Array {
  return new Uint8Array(createPublicKey(privateKeyOf(pkcs8)).export({ format: "der", type: "spki" }));
}

function privateKeyOf(pkcs8: Uint8Array): KeyObject {
  const view = Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.length); // no copy that nobody wipes
  return createPrivateKey({ key: view, format: "der", type: "pkcs8" });
}

/** A certificate from our own store; peers' certificates are read by `ra-tls/extensions.ts`. */
export function parseCertificate(pem: string): x509.X509Certificate {
  try {
    return new x509.X509Certificate(pem);
  } catch (cause) {
    throw new KmsError("malformed.certificate", "certificate: cannot be decoded", { cause });
  }
}

/** The subject's DER as it stands in a stored CA certificate. */
function subjectOf(pem: string): Uint8Array {
  const certificate = new DerReader(derOf(pem), "malformed.certificate").inside(TAG.sequence, "certificate");
  const tbs = certificate.inside(TAG.sequence, "tbsCertificate");
  for (const field of ["version", "serialNumber", "signature", "issuer", "validity"]) tbs.next(field);
  return tbs.raw(TAG.sequence, "subject");
}

function derOf(pem: string): Uint8Array {
  try {
    return new Uint8Array(new NodeCertificate(pem).raw);
  } catch (cause) {
    throw new KmsError("malformed.certificate", "certificate: cannot be decoded", { cause });
  }
}

/** SAN, key usage, extended key usage, key identifier, basic constraints, then the private ones; never an authority key identifier. */
function extensionsOf({ altNames = [], purposes = [], extensions = [], pathLength, spki }: CertificateRequest): Uint8Array[] {
  const authority = pathLength !== undefined;
  const list: Uint8Array[] = [];
  if (altNames.length > 0) list.push(extension(oids.altNames, der.sequence(...altNames.map(altName))));
  list.push(criticalExtension(oids.keyUsage, authority ? keyUsageBits.authority : keyUsageBits.leaf));
  if (purposes.length > 0) {
    list.push(extension(oids.purposes, der.sequence(...purposes.map((purpose) => der.oid(oids[purpose])))));
  }
  if (authority) {
    list.push(extension(oids.keyId, der.octetString(sha256(spki).subarray(0, keyIdLength))));
    list.push(criticalExtension(oids.basicConstraints, der.sequence(der.TRUE, der.smallInteger(pathLength))));
  }
  return [...list, ...extensions.map(({ oid, value }) => extension(oid, value))];
}

function extension(oid: string, value: Uint8Array): Uint8Array {
  return der.sequence(der.oid(oid), der.octetString(value));
}

function criticalExtension(oid: string, value: Uint8Array): Uint8Array {
  return der.sequence(der.oid(oid), der.TRUE, der.octetString(value));
}

/** An address with a zone, as in `fe80::1%eth0`, has no form in a certificate. */
function altName(name: string): Uint8Array {
  const version = name.includes("%") ? 0 : isIP(name);
  if (version === 0) return der.implicit(generalName.dns, utf8(name));
  return der.implicit(generalName.ip, version === 4 ? Uint8Array.from(name.split(".").map(Number)) : ipv6Bytes(name));
}

/** The URL parser writes any spelling, an IPv4 tail too, as groups of hex with at most one gap. */
function ipv6Bytes(address: string): Uint8Array {
  const groups = (text: string) => text.split(":").filter((group) => group !== "");
  const [front = "", back] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const [first, last] = [groups(front), groups(back ?? "")];
  const gap = Array.from({ length: 8 - first.length - last.length }, () => "0");
  return fromHex([...first, ...gap, ...last].map((group) => group.padStart(4, "0")).join(""), "IPv6 address", 16);
}

function nameOf(subject: CertificateRequest["subject"]): Uint8Array {
  if (typeof subject === "string") return subjectOf(subject);
  const { organization, commonName } = subject;
  const common = attribute(oids.commonName, commonName);
  return organization === undefined ? der.sequence(common) : der.sequence(attribute(oids.organization, organization), common);
}

function attribute(oid: string, text: string): Uint8Array {
  return der.set(der.sequence(der.oid(oid), der.utf8String(text)));
}

/** The first 20 bytes of SHA-256 over the public point, positive; its leading zeros are not written. */
function serialOf(spki: Uint8Array): Uint8Array {
  const serial = sha256(spki.subarray(-65)).slice(0, serialLength);
  serial[0] = (serial[0] ?? 0) & 0x7f;
  return serial;
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}
