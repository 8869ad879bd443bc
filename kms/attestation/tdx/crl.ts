/** Certificate revocation lists (RFC 5280 5): parsed whole and strictly, each then proven by the issuer in the path and by its dates. */

import { equal } from "../../bytes.ts";
import { DerReader, keyOf, TAG } from "../../der.ts";
import { KmsError } from "../../errors.ts";
import { isSignedDer } from "./p256.ts";
import { type Certificate, MAX_SERIAL_BYTES, requireEcdsaSha256 } from "./x509.ts";
import { type Extensions, readExtensions, readFullName } from "./x509-extensions.ts";

/** Intel's PCK list has under 3 KB today. */
export const MAX_CRL_BYTES = 1024 * 1024;

const CONTEXT_EXTENSIONS = 0xa0;

const CRL_NUMBER = "2.5.29.20";
const REASON_CODE = "2.5.29.21";
const INVALIDITY_DATE = "2.5.29.24";
const DELTA_INDICATOR = "2.5.29.27";
const ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
const CERTIFICATE_ISSUER = "2.5.29.29";
const AUTHORITY_KEY_ID = "2.5.29.35";

/** What an issuingDistributionPoint narrows a list to. */
export interface CrlScope {
  readonly uris: readonly string[];
  readonly only: "users" | "cas" | undefined;
}

export interface Crl {
  readonly tbs: Uint8Array;
  readonly signature: Uint8Array;
  readonly issuer: Uint8Array;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** Lower-case hex of the CRL number. */
  readonly number: string | undefined;
  /** Serials as `Certificate.serial` spells them; the reason of an entry does not matter. */
  readonly revoked: ReadonlySet<string>;
  readonly scope: CrlScope | undefined;
}

export function parseCrl(der: Uint8Array, what: string): Crl {
  if (der.length > MAX_CRL_BYTES) {
    throw new KmsError("malformed.collateral", `${what}: at most ${MAX_CRL_BYTES} bytes, have ${der.length}`);
  }
  const outer = new DerReader(der, "malformed.collateral");
  const list = outer.inside(TAG.sequence, what);
  outer.end(what);
  const tbs = list.raw(TAG.sequence, `${what}.tbs`);
  const algorithm = list.raw(TAG.sequence, `${what}.signatureAlgorithm`);
  const signature = list.wholeBits(`${what}.signature`);
  list.end(what);
  return { tbs, signature, ...readTbs(list.over(tbs).inside(TAG.sequence, `${what}.tbs`), what, algorithm) };
}

function readTbs(tbs: DerReader, what: string, algorithm: Uint8Array): Omit<Crl, "tbs" | "signature"> {
  if (tbs.smallInteger(`${what}.version`) !== 1) throw tbs.refuse(`${what}.version: UnsupportedCrlVersion, need version 2`);
  requireEcdsaSha256(tbs, what, algorithm);
  const issuer = tbs.raw(TAG.sequence, `${what}.issuer`);
  const thisUpdate = tbs.time(`${what}.thisUpdate`);
  // optional in RFC 5280; a list without end would never expire, so the reading of a time fails when it is absent
  const nextUpdate = tbs.time(`${what}.nextUpdate`);
  const revoked = tbs.has(TAG.sequence) ? readRevoked(tbs.inside(TAG.sequence, `${what}.revoked`), what) : new Set<string>();
  const extensions = readExtensions(tbs.inside(CONTEXT_EXTENSIONS, `${what}.extensions`), `${what}.extensions`);
  tbs.end(`${what}.tbs`);
  return { issuer, thisUpdate, nextUpdate, revoked, ...readListExtensions(extensions, what, tbs) };
}

function readRevoked(entries: DerReader, what: string): ReadonlySet<string> {
  const revoked = new Set<string>();
  let known: Uint8Array | undefined;
  while (!entries.done) {
    const entry = entries.inside(TAG.sequence, `${what}.revoked`);
    revoked.add(keyOf(entry.unsigned(`${what}.revoked.serial`, MAX_SERIAL_BYTES)));
    entry.time(`${what}.revoked.date`);
    const extensions = entry.rest();
    // the entries of a list repeat theirs: what is the same as before was read before
    if (known === undefined || !equal(extensions, known)) checkEntryExtensions(entry.over(extensions), what);
    known = extensions;
  }
  return revoked;
}

function checkEntryExtensions(reader: DerReader, what: string): void {
  if (reader.done) return;
  const extensions = readExtensions(reader, `${what}.revoked.extensions`);
  // an indirect list speaks for other issuers; its entries cannot be read as this issuer's
  if (extensions.has(CERTIFICATE_ISSUER)) throw reader.refuse(`${what}.revoked: UnsupportedIndirectCrl`);
  refuseCritical(extensions, [REASON_CODE, INVALIDITY_DATE], `${what}.revoked`, reader);
}

function readListExtensions(extensions: Extensions, what: string, tbs: DerReader): Pick<Crl, "number" | "scope"> {
  // a delta list is no list: what it leaves out may be revoked all the same
  if (extensions.has(DELTA_INDICATOR)) throw tbs.refuse(`${what}: UnsupportedDeltaCrl`);
  refuseCritical(extensions, [CRL_NUMBER, AUTHORITY_KEY_ID, ISSUING_DISTRIBUTION_POINT], what, tbs);
  const number = extensions.get(CRL_NUMBER);
  const scope = extensions.get(ISSUING_DISTRIBUTION_POINT);
  return {
    number: number && readNumber(tbs.over(number.value), what),
    scope: scope && readScope(tbs.over(scope.value), what),
  };
}

function readNumber(reader: DerReader, what: string): string {
  const number = keyOf(reader.unsigned(`${what}.crlNumber`, 20));
  reader.end(`${what}.crlNumber`);
  return number;
}

/** IssuingDistributionPoint, RFC 5280 5.2.5: a full name is needed; partial and indirect lists are refused. */
function readScope(outer: DerReader, what: string): CrlScope {
  const field = `${what}.issuingDistributionPoint`;
  const point = outer.inside(TAG.sequence, field);
  outer.end(field);
  const uris = readFullName(point.inside(0xa0, `${field}.name`));
  const users = point.has(0x81) && point.boolean(field, 0x81);
  const cas = point.has(0x82) && point.boolean(field, 0x82);
  if (point.has(0x83)) throw point.refuse(`${field}: UnsupportedRevocationReasonsPartitioning`);
  const indirect = point.has(0x84) && point.boolean(field, 0x84);
  const attributes = point.has(0x85) && point.boolean(field, 0x85);
  point.end(field);
  if (indirect) throw point.refuse(`${field}: UnsupportedIndirectCrl`);
  if (attributes || (users && cas)) throw point.refuse(`${field}: MalformedExtensions`);
  return { uris, only: users ? "users" : cas ? "cas" : undefined };
}

function refuseCritical(extensions: Extensions, known: readonly string[], what: string, reader: DerReader): void {
  for (const [oid, { critical }] of extensions) {
    if (critical && !known.includes(oid)) throw reader.refuse(`${what} ${oid}: UnsupportedCriticalExtension`);
  }
}

export function isSignedBy(crl: Crl, issuer: Certificate): boolean {
  return isSignedDer(crl.tbs, crl.signature, issuer.publicKey);
}
