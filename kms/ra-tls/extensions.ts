/** The private extensions of RA-TLS certificates: reading them strictly out of a peer's certificate, and writing them. */
import { decodeEvidence, type Evidence, evidenceFromQuote } from "../attestation/evidence.ts";
import { fromUtf8 } from "../bytes.ts";
import { DerReader, TAG } from "../der.ts";
import { octetString } from "../der-write.ts";
import { KmsError } from "../errors.ts";
import { type AppInfo, decodeAppInfo } from "./app-info.ts";

/** Rust peers stop at 64 KiB; real certificates have 7 to 40 KiB of evidence. Checked before anything is read. */
export const maxCertificateBytes = 256 * 1024;
const maxExtensions = 64;

const arc = "1.3.6.1.4.1.62397.1";
export const oidOf = {
  tdxQuote: `${arc}.1`,
  tdxEventLog: `${arc}.2`,
  appId: `${arc}.3`,
  usage: `${arc}.4`,
  attestation: `${arc}.8`,
  appInfo: `${arc}.9`,
} as const;

const tag = { version: 0xa0, issuerId: 0x81, subjectId: 0x82, extensions: 0xa3 } as const;
const code = "malformed.certificate";

/** What a peer's certificate claims. Nothing here is proved: the evidence has yet to be bound to `spki` and verified. */
export interface CertificateEvidence {
  /** SubjectPublicKeyInfo exactly as it stands in the certificate. */
  readonly spki: Uint8Array;
  readonly evidence: Evidence | undefined;
  readonly usage: string | undefined;
  readonly appId: Uint8Array | undefined;
  readonly appInfo: AppInfo | undefined;
}

/** Reads a DER certificate, front to back and once. */
export function readCertificate(der: Uint8Array): CertificateEvidence {
  if (der.length > maxCertificateBytes) {
    throw new KmsError(code, `certificate: need at most ${maxCertificateBytes} bytes, have ${der.length}`);
  }
  const { spki, extensions } = readStructure(der);
  const payload = (oid: string, field: string) => {
    const value = extensions.get(oid);
    return value === undefined ? undefined : unwrap(value, field);
  };
  const usage = payload(oidOf.usage, "certificate usage");
  const appInfo = payload(oidOf.appInfo, "app info");
  return {
    spki,
    evidence: evidenceOf(payload),
    usage: usage && fromUtf8(usage, "certificate usage", code),
    appId: payload(oidOf.appId, "app id"),
    appInfo: appInfo && decodeAppInfo(appInfo),
  };
}

/** An extension whose content is an OCTET STRING, inside the OCTET STRING that every extension value is. */
export function privateExtension(oid: string, payload: Uint8Array): { readonly oid: string; readonly value: Uint8Array } {
  return { oid, value: octetString(payload) };
}

/** The envelope where there is one, else the legacy pair of quote and event log. */
function evidenceOf(payload: (oid: string, field: string) => Uint8Array | undefined): Evidence | undefined {
  const envelope = payload(oidOf.attestation, "attestation");
  const quote = payload(oidOf.tdxQuote, "TDX quote");
  const eventLog = payload(oidOf.tdxEventLog, "TDX event log");
  if (envelope !== undefined) return decodeEvidence(envelope);
  if (quote === undefined) return undefined;
  if (eventLog === undefined) throw new KmsError(code, "TDX event log missing");
  return evidenceFromQuote(quote, fromUtf8(eventLog, "TDX event log", "malformed.event-log"));
}

/** RFC 5280 4.1, as far as evidence needs it: names, times and the signature are for the TLS stack, which has checked them. */
function readStructure(der: Uint8Array): { spki: Uint8Array; extensions: ReadonlyMap<string, Uint8Array> } {
  const outer = new DerReader(der, code);
  const certificate = outer.inside(TAG.sequence, "certificate");
  outer.end("certificate");
  const tbs = certificate.inside(TAG.sequence, "tbsCertificate");
  certificate.raw(TAG.sequence, "signatureAlgorithm");
  certificate.raw(TAG.bitString, "signatureValue");
  certificate.end("certificate");

  if (tbs.has(tag.version)) tbs.raw(tag.version, "version");
  tbs.raw(TAG.integer, "serialNumber");
  for (const field of ["signature", "issuer", "validity", "subject"]) tbs.raw(TAG.sequence, field);
  const spki = tbs.raw(TAG.sequence, "subjectPublicKeyInfo");
  if (tbs.has(tag.issuerId)) tbs.raw(tag.issuerId, "issuerUniqueID");
  if (tbs.has(tag.subjectId)) tbs.raw(tag.subjectId, "subjectUniqueID");
  const extensions = tbs.has(tag.extensions) ? readExtensions(tbs.inside(tag.extensions, "extensions")) : new Map();
  tbs.end("tbsCertificate");
  return { spki, extensions };
}

/** Two copies of one extension, which RFC 5280 4.2 forbids, would let a reader of the first and one of the last see different things. */
function readExtensions(wrapper: DerReader): ReadonlyMap<string, Uint8Array> {
  const list = wrapper.inside(TAG.sequence, "extensions");
  wrapper.end("extensions");
  const values = new Map<string, Uint8Array>();
  while (!list.done) {
    if (values.size === maxExtensions) throw new KmsError(code, `extensions: need at most ${maxExtensions}`);
    const extension = list.inside(TAG.sequence, "extension");
    const oid = extension.oid("extension id");
    if (extension.has(TAG.boolean)) extension.boolean("extension critical");
    const value = extension.content(TAG.octetString, "extension value");
    extension.end("extension");
    if (values.has(oid)) throw new KmsError(code, `extension ${oid}: stands twice in the certificate`);
    values.set(oid, value);
  }
  return values;
}

function unwrap(value: Uint8Array, field: string): Uint8Array {
  const reader = new DerReader(value, code);
  const payload = reader.content(TAG.octetString, field);
  reader.end(field);
  return payload;
}
