/** The certificate extensions that path validation reads, and the rule for all others: critical ones are refused. */

import { DerReader, TAG } from "../../der.ts";
import { KmsError } from "../../errors.ts";

export interface Extension {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** By dotted OID; RFC 5280 4.2 allows each once. */
export type Extensions = ReadonlyMap<string, Extension>;

export interface Constraints {
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  /** Undefined without the key usage extension. */
  readonly keyUsage: { readonly keyCertSign: boolean; readonly cRLSign: boolean } | undefined;
  /** Undefined without the extension. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** URIs of the distribution points; undefined without the extension. */
  readonly crlUris: readonly string[] | undefined;
}

const MAX_EXTENSIONS = 32;

const KEY_USAGE = "2.5.29.15";
const SUBJECT_ALT_NAME = "2.5.29.17";
const BASIC_CONSTRAINTS = "2.5.29.19";
const NAME_CONSTRAINTS = "2.5.29.30";
const CRL_DISTRIBUTION_POINTS = "2.5.29.31";
const EXT_KEY_USAGE = "2.5.29.37";
const recognised: ReadonlySet<string> = new Set([
  KEY_USAGE,
  SUBJECT_ALT_NAME,
  BASIC_CONSTRAINTS,
  CRL_DISTRIBUTION_POINTS,
  EXT_KEY_USAGE,
]);

const KEY_CERT_SIGN = 0x04;
const CRL_SIGN = 0x02;
/** IMPLICIT tag of uniformResourceIdentifier in GeneralName. */
const GENERAL_NAME_URI = 0x86;

/** Extensions ::= SEQUENCE OF SEQUENCE { OID, critical BOOLEAN DEFAULT FALSE, OCTET STRING }, from its outer SEQUENCE. */
export function readExtensions(reader: DerReader, what: string): Extensions {
  const list = reader.inside(TAG.sequence, what);
  reader.end(what);
  const extensions = new Map<string, Extension>();
  while (!list.done) {
    const entry = list.inside(TAG.sequence, what);
    const oid = entry.oid(what);
    const critical = entry.has(TAG.boolean) && entry.boolean(`${what} ${oid}`);
    const value = entry.content(TAG.octetString, `${what} ${oid}`);
    entry.end(`${what} ${oid}`);
    // the reference refuses a repeated extension only when it reads it; two readings of one certificate help nobody
    if (extensions.has(oid)) throw list.refuse(`${what} ${oid}: ExtensionValueInvalid, occurs twice`);
    if (extensions.size === MAX_EXTENSIONS) throw list.refuse(`${what}: at most ${MAX_EXTENSIONS}`);
    extensions.set(oid, { critical, value });
  }
  return extensions;
}

export function readConstraints(extensions: Extensions): Constraints {
  for (const [oid, { critical }] of extensions) {
    if (critical && !recognised.has(oid)) throw refuse(`${oid}: UnsupportedCriticalExtension`);
  }
  // Intel uses none. The reference honours them; refusing the extension is the strict reading that needs no name matching
  if (extensions.has(NAME_CONSTRAINTS)) throw refuse("name constraints are not supported");
  return {
    ...readBasicConstraints(extensions.get(BASIC_CONSTRAINTS)),
    keyUsage: readKeyUsage(extensions.get(KEY_USAGE)),
    extendedKeyUsage: readExtendedKeyUsage(extensions.get(EXT_KEY_USAGE)),
    crlUris: readDistributionPoints(extensions.get(CRL_DISTRIBUTION_POINTS)),
  };
}

function readBasicConstraints(extension: Extension | undefined): Pick<Constraints, "isCa" | "pathLength"> {
  if (extension === undefined) return { isCa: false, pathLength: undefined };
  const outer = open(extension);
  const reader = outer.inside(TAG.sequence, "basicConstraints");
  outer.end("basicConstraints");
  const isCa = reader.has(TAG.boolean) && reader.boolean("basicConstraints.cA");
  const pathLength = reader.done ? undefined : reader.smallInteger("basicConstraints.pathLen");
  reader.end("basicConstraints");
  if (!isCa && pathLength !== undefined) throw refuse("basicConstraints: path length without cA");
  return { isCa, pathLength };
}

function readKeyUsage(extension: Extension | undefined): Constraints["keyUsage"] {
  if (extension === undefined) return undefined;
  const outer = open(extension);
  const [unused = 8, bits = 0] = outer.content(TAG.bitString, "keyUsage");
  outer.end("keyUsage");
  if (unused > 7) throw refuse("keyUsage: not a bit string");
  return { keyCertSign: (bits & KEY_CERT_SIGN) !== 0, cRLSign: (bits & CRL_SIGN) !== 0 };
}

function readExtendedKeyUsage(extension: Extension | undefined): readonly string[] | undefined {
  if (extension === undefined) return undefined;
  const outer = open(extension);
  const reader = outer.inside(TAG.sequence, "extKeyUsage");
  outer.end("extKeyUsage");
  const purposes: string[] = [];
  while (!reader.done) purposes.push(reader.oid("extKeyUsage"));
  return purposes;
}

/** CRLDistributionPoints: only full names count; a point limited to reasons or another issuer cannot vouch for a certificate. */
function readDistributionPoints(extension: Extension | undefined): readonly string[] | undefined {
  if (extension === undefined) return undefined;
  const outer = open(extension);
  const points = outer.inside(TAG.sequence, "cRLDistributionPoints");
  outer.end("cRLDistributionPoints");
  const uris: string[] = [];
  while (!points.done) {
    const point = points.inside(TAG.sequence, "cRLDistributionPoints");
    if (point.has(0xa0)) uris.push(...readFullName(point.inside(0xa0, "cRLDistributionPoints.name")));
    point.end("cRLDistributionPoints: reasons or issuer");
  }
  return uris;
}

/** The URIs of DistributionPointName, which must be a full name. */
export function readFullName(name: DerReader): string[] {
  const names = name.inside(0xa0, "distributionPoint.fullName");
  name.end("distributionPoint.fullName");
  const uris: string[] = [];
  while (!names.done) {
    const { tag, content } = names.next("distributionPoint.fullName");
    if (tag === GENERAL_NAME_URI) uris.push(Buffer.from(content).toString("latin1"));
  }
  return uris;
}

function open(extension: Extension): DerReader {
  return new DerReader(extension.value, "malformed.certificate");
}

function refuse(detail: string): KmsError {
  return new KmsError("malformed.certificate", `certificate.extensions ${detail}`);
}
