/** X.509 version 3 certificates (RFC 5280) of Intel's hierarchy: parsed once, strictly; nothing is trusted yet. */
import type { KeyObject } from "node:crypto";
import { equal } from "../../bytes.ts";
import { DerReader, keyOf, TAG } from "../../der.ts";
import { KmsError } from "../../errors.ts";
import { ECDSA_SHA256, isSignedDer, keyFromSpki } from "./p256.ts";
import { type Constraints, type Extensions, readConstraints, readExtensions } from "./x509-extensions.ts";

/** Intel's have about 1,250 bytes. */
export const MAX_CERTIFICATE_BYTES = 16 * 1024;
/** RFC 5280 4.1.2.2. */
export const MAX_SERIAL_BYTES = 20;

const CONTEXT_VERSION = 0xa0;
const CONTEXT_EXTENSIONS = 0xa3;

export interface Certificate extends Constraints {
  readonly raw: Uint8Array;
  /** The signed part, a slice of `raw`. */
  readonly tbs: Uint8Array;
  readonly signature: Uint8Array;
  /** Lower-case hex of the magnitude. */
  readonly serial: string;
  /** Names are compared as raw DER. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** Seconds since 1970, both ends inclusive. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: KeyObject;
  readonly extensions: Extensions;
}

export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) {
    throw new KmsError("malformed.certificate", `certificate: at most ${MAX_CERTIFICATE_BYTES} bytes, have ${der.length}`);
  }
  const outer = new DerReader(der, "malformed.certificate");
  const certificate = outer.inside(TAG.sequence, "certificate");
  outer.end("certificate");
  const tbs = certificate.raw(TAG.sequence, "certificate.tbs");
  const algorithm = certificate.raw(TAG.sequence, "certificate.signatureAlgorithm");
  const signature = certificate.wholeBits("certificate.signature");
  certificate.end("certificate.signature");
  return { raw: der, tbs, signature, ...readTbs(certificate.over(tbs).inside(TAG.sequence, "certificate.tbs"), algorithm) };
}

function readTbs(tbs: DerReader, outerAlgorithm: Uint8Array): Omit<Certificate, "raw" | "tbs" | "signature"> {
  const version = tbs.inside(CONTEXT_VERSION, "certificate.version");
  if (version.smallInteger("certificate.version") !== 2) throw tbs.refuse("certificate.version: need version 3");
  version.end("certificate.version");
  const serial = keyOf(tbs.unsigned("certificate.serial", MAX_SERIAL_BYTES));
  requireEcdsaSha256(tbs, "certificate", outerAlgorithm);
  const issuer = tbs.raw(TAG.sequence, "certificate.issuer");
  const validity = tbs.inside(TAG.sequence, "certificate.validity");
  const notBefore = validity.time("certificate.notBefore");
  const notAfter = validity.time("certificate.notAfter");
  validity.end("certificate.validity");
  if (notBefore > notAfter) throw tbs.refuse("certificate.validity: InvalidCertValidity, ends before it begins");
  const subject = tbs.raw(TAG.sequence, "certificate.subject");
  const publicKey = keyFromSpki(tbs.raw(TAG.sequence, "certificate.publicKey"), "malformed.certificate");
  // unique ids (tags 81 and 82) would stand here: they are refused, as by the reference
  const extensions = readExtensions(tbs.inside(CONTEXT_EXTENSIONS, "certificate.extensions"), "certificate.extensions");
  tbs.end("certificate.tbs");
  return { serial, issuer, notBefore, notAfter, subject, publicKey, extensions, ...readConstraints(extensions) };
}

/**
 * Inner and outer algorithm must be the same bytes, so that the signed statement names what was verified. The reference's
 * library knows more algorithms; Intel's hierarchy uses this one only, and a second one is only a larger target.
 */
export function requireEcdsaSha256(tbs: DerReader, what: string, outerAlgorithm: Uint8Array): void {
  const inner = tbs.raw(TAG.sequence, `${what}.signatureAlgorithm`);
  if (!equal(inner, outerAlgorithm)) throw tbs.refuse(`${what}: SignatureAlgorithmMismatch, inner and outer algorithm differ`);
  if (!equal(inner, ECDSA_SHA256)) throw tbs.refuse(`${what}: UnsupportedSignatureAlgorithm, need ecdsa-with-SHA256`);
}

export function isIssuedBy(certificate: Certificate, issuerKey: KeyObject): boolean {
  return isSignedDer(certificate.tbs, certificate.signature, issuerKey);
}
