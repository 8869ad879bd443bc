/** Certificate paths to the trust anchor: issuance first, then revocation from the anchor down. */
import { equal } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { KnownIssuers } from "./known-issuers.ts";
import { certificateTexts, derFromBase64 } from "./pem.ts";
import type { RevocationLists } from "./revocation.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import { type Certificate, parseCertificate } from "./x509.ts";

const MAX_INTERMEDIATES = 6;
/** Candidates tried in one search; certificates that issue each other in circles end here. */
const MAX_CANDIDATES_TRIED = 32;

const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

/** Leaf first; the last certificate is signed by the anchor, which is not in the list. */
export type CertificatePath = readonly [leaf: Certificate, ...intermediates: Certificate[]];

export interface PathSettings {
  readonly anchor: TrustAnchor;
  /** Whole seconds since 1970. */
  readonly at: number;
  /** Of this anchor; none are known without it. */
  readonly issuers?: KnownIssuers;
}

/** Certificates of a PEM text, leaf first, parsed but not verified. */
export function parseChain(pem: string, issuers?: KnownIssuers): CertificatePath {
  const read = (base64: string) => issuers?.find(base64) ?? parseCertificate(derFromBase64(base64));
  const [leaf, ...others] = certificateTexts(pem).map(read);
  if (leaf === undefined) throw new KmsError("malformed.certificate", "certificate chain: no certificate");
  return [leaf, ...others];
}

/** The first certificate is the leaf, the others are candidates in any order; revocation is a step of its own. */
export function verifyPath([leaf, ...pool]: CertificatePath, settings: PathSettings): CertificatePath {
  if (leaf.isCa) throw refuse("CaUsedAsEndEntity, the leaf is a CA");
  const problem = usageProblem(leaf, settings.at);
  if (problem !== undefined) throw refuse(problem);
  const issuers = settings.issuers ?? new KnownIssuers(settings.anchor.certificate);
  const search: Search = { ...settings, issuers, pool, tried: 0, failure: undefined };
  const path = extend([leaf], search);
  if (path === undefined) throw refuse(search.failure ?? "UnknownIssuer, no path to the trust anchor");
  return path;
}

/** Every certificate below the anchor, each with the key of its issuer in the path. */
export function verifyUnrevoked(path: CertificatePath, anchor: TrustAnchor, lists: RevocationLists): void {
  let issuer = anchor.certificate;
  for (const certificate of path.toReversed()) {
    lists.requireUnrevoked(certificate, issuer);
    issuer = certificate;
  }
}

interface Search extends PathSettings {
  readonly issuers: KnownIssuers;
  readonly pool: readonly Certificate[];
  tried: number;
  failure: string | undefined;
}

function extend(path: CertificatePath, search: Search): CertificatePath | undefined {
  const last = path.at(-1) ?? path[0];
  const anchor = search.anchor.certificate;
  if (equal(last.issuer, anchor.subject)) {
    if (search.issuers.isIssuedBy(last, anchor)) return path;
    search.failure ??= "InvalidSignatureForPublicKey, not signed by the trust anchor";
  }
  for (const candidate of search.pool) {
    if (!equal(candidate.subject, last.issuer)) continue;
    search.tried += 1;
    if (search.tried > MAX_CANDIDATES_TRIED) throw refuse(`MaximumPathBuildCallsExceeded, ${MAX_CANDIDATES_TRIED} candidates`);
    const problem = issuerProblem(candidate, path, search);
    if (problem === undefined) {
      const found = extend([...path, candidate], search);
      if (found !== undefined) return found;
    }
    search.failure ??= problem;
  }
  return undefined;
}

/** Why a certificate cannot stand above a path; cheap rules before the signature. */
function issuerProblem(candidate: Certificate, path: CertificatePath, { at, issuers }: Search): string | undefined {
  if (path.length > MAX_INTERMEDIATES) return `MaximumPathDepthExceeded, more than ${MAX_INTERMEDIATES} intermediates`;
  if (!candidate.isCa) return "EndEntityUsedAsCa";
  if ((candidate.pathLength ?? MAX_INTERMEDIATES) < path.length - 1) return "PathLenConstraintViolated";
  // RFC 5280 6.1.4 (n); the reference leaves this bit unread
  if (candidate.keyUsage?.keyCertSign === false) return "an issuer may not sign certificates";
  const problem = usageProblem(candidate, at);
  if (problem !== undefined) return problem;
  const below = path.at(-1) ?? path[0];
  return issuers.isIssuedBy(below, candidate) ? undefined : "InvalidSignatureForPublicKey";
}

function usageProblem({ notBefore, notAfter, extendedKeyUsage }: Certificate, at: number): string | undefined {
  if (at < notBefore) return `CertNotValidYet, begins at ${notBefore}, now ${at}`;
  if (at > notAfter) return `CertExpired, ended at ${notAfter}, now ${at}`;
  if (extendedKeyUsage && !extendedKeyUsage.includes(SERVER_AUTH)) return "RequiredEkuNotFound";
  return undefined;
}

function refuse(detail: string): KmsError {
  return new KmsError("unproven.certificate-chain", detail);
}
