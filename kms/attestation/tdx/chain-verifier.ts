/** Steps 0 and 0a: opens the anchor and the revocation lists; and then verifies every chain of one verification against them. */
import { KmsError } from "../../errors.ts";
import type { Collateral } from "./collateral.ts";
import { RevocationLists } from "./revocation.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import type { Certificate } from "./x509.ts";
import { parseChain, verifyPath, verifyUnrevoked } from "./x509-path.ts";

/** Paths to one anchor under one pair of revocation lists at one time; the same PEM text is verified once. */
export class ChainVerifier {
  readonly anchor: TrustAnchor;
  readonly at: number;
  readonly lists: RevocationLists;
  /** Seconds since 1970 at which the first of all parts used so far ends: the lists, the anchor, the certificates of verified paths. */
  endsAt: number;
  readonly #leaves = new Map<string, Certificate>();

  constructor(anchor: TrustAnchor, at: number, lists: RevocationLists) {
    this.anchor = anchor;
    this.at = at;
    this.lists = lists;
    this.endsAt = Math.min(lists.nextUpdate, anchor.certificate.notAfter);
  }

  /** The leaf of a chain that leads to the anchor and of which nothing is revoked. */
  leafOf(pem: string): Certificate {
    const known = this.#leaves.get(pem);
    if (known !== undefined) return known;
    const path = verifyPath(parseChain(pem), this);
    verifyUnrevoked(path, this.anchor, this.lists);
    this.endsAt = Math.min(this.endsAt, ...path.map(({ notAfter }) => notAfter));
    const [leaf] = path;
    this.#leaves.set(pem, leaf);
    return leaf;
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
