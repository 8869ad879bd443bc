/** The one certificate profile: every certificate of this project is made here, byte for byte as the reference lays them out. */
import "reflect-metadata";
import { createHash, createPrivateKey, createPublicKey, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import { fromHex, toHex } from "../bytes.ts";
import { KmsError } from "../errors.ts";

/** What the certificate says; serial, key usage and key identifier follow from it. */
export interface CertificateRequest {
  readonly subject: { readonly organization?: string; readonly commonName: string };
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

const p256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const defaultNotBefore = new Date("1975-01-01T00:00:00Z");
const defaultDays = 3650;
const dayMs = 86_400_000;
const serialLength = 20;
const keyIdLength = 20;

const oids = { keyUsage: "2.5.29.15", serverAuth: "1.3.6.1.5.5.7.3.1", clientAuth: "1.3.6.1.5.5.7.3.2" } as const;
/** BIT STRINGs of nine bits, as the reference writes them; the shortest DER would be one byte. */
const keyUsageBits = {
  authority: fromHex("0303078600", "key usage", 5), // digitalSignature, keyCertSign, cRLSign
  leaf: fromHex("0303078000", "key usage", 5), // digitalSignature
} as const;

/** Issues the certificate and returns it as PEM. */
export async function issueCertificate(request: CertificateRequest, signer: Signer): Promise<string> {
  const subject = nameOf(request.subject);
  const notBefore = wholeSeconds(request.notBefore ?? defaultNotBefore);
  const notAfter = wholeSeconds(request.notAfter ?? new Date(request.now.getTime() + defaultDays * dayMs));
  if (notBefore > notAfter) throw new KmsError("malformed.certificate", "certificate: not_after is before not_before");
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialOf(request.spki),
    subject,
    // Rust peers match names byte by byte: the issuer's own encoding is taken over, whatever its string type
    issuer: signer.certificate === "self" ? subject : parseCertificate(signer.certificate).subjectName,
    notBefore,
    notAfter,
    publicKey: request.spki.slice(),
    signingKey: await webcrypto.subtle.importKey("pkcs8", signer.pkcs8.slice(), p256, false, ["sign"]),
    signingAlgorithm: p256,
    extensions: extensionsOf(request),
  });
  return encodePem("CERTIFICATE", new Uint8Array(certificate.rawData));
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
  const key = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
  return new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }));
}

/** A certificate from our own store; peers' certificates are read by `ra-tls/extensions.ts`. */
export function parseCertificate(pem: string): x509.X509Certificate {
  try {
    return new x509.X509Certificate(pem);
  } catch (cause) {
    throw new KmsError("malformed.certificate", "certificate: cannot be decoded", { cause });
  }
}

/** SAN, key usage, extended key usage, key identifier, basic constraints, then the private ones; never an authority key identifier. */
function extensionsOf(request: CertificateRequest): x509.Extension[] {
  const { altNames = [], purposes = [], extensions = [], pathLength } = request;
  const authority = pathLength !== undefined;
  const list: x509.Extension[] = [];
  if (altNames.length > 0) list.push(new x509.SubjectAlternativeNameExtension(altNames.map(altName)));
  list.push(new x509.Extension(oids.keyUsage, true, authority ? keyUsageBits.authority : keyUsageBits.leaf));
  if (purposes.length > 0) list.push(new x509.ExtendedKeyUsageExtension(purposes.map((purpose) => oids[purpose])));
  if (authority) {
    list.push(new x509.SubjectKeyIdentifierExtension(toHex(sha256(request.spki).subarray(0, keyIdLength))));
    list.push(new x509.BasicConstraintsExtension(true, pathLength, true));
  }
  return [...list, ...extensions.map(({ oid, value }) => new x509.Extension(oid, false, value.slice()))];
}

/** An address with a zone, as in `fe80::1%eth0`, has no form in a certificate. */
function altName(name: string): x509.JsonGeneralName {
  return isIP(name) === 0 || name.includes("%") ? { type: "dns", value: name } : { type: "ip", value: name };
}

function nameOf({ organization, commonName }: CertificateRequest["subject"]): x509.Name {
  const common = { CN: [{ utf8String: commonName }] };
  return new x509.Name(organization === undefined ? [common] : [{ O: [{ utf8String: organization }] }, common]);
}

/** The first 20 bytes of SHA-256 over the public point, positive and without leading zeros. */
function serialOf(spki: Uint8Array): string {
  const serial = sha256(spki.subarray(-65)).slice(0, serialLength);
  serial[0] = (serial[0] ?? 0) & 0x7f;
  return toHex(serial);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

function wholeSeconds(date: Date): Date {
  return new Date(Math.floor(date.getTime() / 1000) * 1000);
}
