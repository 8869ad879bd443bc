/** Steps 0 and 0a: opens the anchor and the revocation lists; and then verifies every chain of one verification against them. */
import { KmsError } from "../../errors.ts";
import type { Collateral } from "./collateral.ts";
import { RevocationLists } from "./revocation.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import type { Certificate } from "./x509.ts";
import { parseChain, verifyPath, verifyUnrevoked } from "./x509-path.ts";

/** Chains kept with one pair of lists: Intel's signers and a machine each. */
const MAX_LEAVES = 64;
/** Real chains have four kilobytes; a text that somebody blew up is verified each time. */
export const MAX_REMEMBERED_PEM = 16 * 1024;

interface VerifiedLeaf {
  readonly leaf: Certificate;
  readonly endsAt: number;
}

/** Paths to one anchor under one pair of revocation lists at one time; the same PEM text is verified once. */
export class ChainVerifier {
  readonly anchor: TrustAnchor;
  readonly at: number;
  readonly lists: RevocationLists;
  /** Seconds since 1970 at which the first of all parts used so far ends: the lists, the anchor, the certificates of verified paths. */
  endsAt: number;
  readonly #leaves: Map<string, VerifiedLeaf>;

  constructor(anchor: TrustAnchor, at: number, lists: RevocationLists, leaves = new Map<string, VerifiedLeaf>()) {
    this.anchor = anchor;
    this.at = at;
    this.lists = lists;
    this.endsAt = Math.min(lists.nextUpdate, anchor.certificate.notAfter);
    this.#leaves = leaves;
  }

  /** The leaf of a chain that leads to the anchor and of which nothing is revoked. */
  leafOf(pem: string): Certificate {
    const known = this.#leaves.get(pem);
    const found = known !== undefined && this.at < known.endsAt ? known : this.#verify(pem);
    this.endsAt = Math.min(this.endsAt, found.endsAt);
    return found.leaf;
  }

  /** For the next verification with the same lists. What was verified stands at a later time, up to its end; at an earlier one it need not. */
  later(at: number): ChainVerifier {
    return new ChainVerifier(this.anchor, at, this.lists, this.#leaves);
  }

  #verify(pem: string): VerifiedLeaf {
    const path = verifyPath(parseChain(pem), this);
    verifyUnrevoked(path, this.anchor, this.lists);
    const [leaf] = path;
    const verified = { leaf, endsAt: Math.min(...path.map(({ notAfter }) => notAfter)) };
    if (pem.length > MAX_REMEMBERED_PEM) return verified;
    const [oldest] = this.#leaves.keys();
    if (this.#leaves.size >= MAX_LEAVES && oldest !== undefined) this.#leaves.delete(oldest);
    this.#leaves.set(pem, verified);
    return verified;
  }
}

export function openChains({ rootCaCrl, pckCrl }: Collateral, anchor: TrustAnchor, now: Date): ChainVerifier {
  const at = Math.floor(now.getTime() / 1000);
  const root = anchor.certificate;
  // stricter than the reference, which never looks at the anchor's own dates: an expired root vouches for nothing
  if (!(at >= root.notBefore && at <= root.notAfter)) {
    throw new KmsError("unproven.certificate-chain", `Failed to load root ca: outside its validity at ${at}`);
  }
  const lists = new RevocationLists({ rootCaCrl, pckCrl, anchor, at });
  lists.requireUnrevoked(root, root);
  return new ChainVerifier(anchor, at, lists);
}
