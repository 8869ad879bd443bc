/** Steps 0 and 0a: opens the anchor and the revocation lists; and then verifies every chain of one verification against them. */
import { BoundedMap } from "../../bounded-map.ts";
import { KmsError } from "../../errors.ts";
import type { Collateral } from "./collateral.ts";
import { KnownIssuers } from "./known-issuers.ts";
import { type PlatformIdentity, parsePlatformIdentity } from "./pck.ts";
import { RevocationLists } from "./revocation.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import type { Certificate } from "./x509.ts";
import { parseChain, verifyPath, verifyUnrevoked } from "./x509-path.ts";

/** Chains kept with one pair of lists: Intel's signers and a machine each. */
const MAX_LEAVES = 64;
/** Real chains have four kilobytes; a text that somebody blew up is verified each time. */
export const MAX_REMEMBERED_PEM = 16 * 1024;

export interface VerifiedChain {
  readonly leaf: Certificate;
  /** Seconds since 1970 at which its first certificate ends. */
  readonly endsAt: number;
}

export interface VerifiedPck extends VerifiedChain {
  readonly platform: PlatformIdentity;
}

/** What was verified under one pair of lists and one anchor, for all the verifications that use them. */
interface Known {
  readonly issuers: KnownIssuers;
  readonly chains: BoundedMap<string, VerifiedChain>;
  readonly platforms: WeakMap<Certificate, PlatformIdentity>;
}

/** Paths to one anchor under one pair of revocation lists at one time; the same PEM text is verified once. */
export class ChainVerifier {
  readonly anchor: TrustAnchor;
  readonly at: number;
  readonly lists: RevocationLists;
  /** Seconds since 1970 at which the first of the lists and the anchor ends. */
  readonly endsAt: number;
  readonly #known: Known;

  constructor(anchor: TrustAnchor, at: number, lists: RevocationLists, known?: Known) {
    this.anchor = anchor;
    this.at = at;
    this.lists = lists;
    this.endsAt = Math.min(lists.nextUpdate, anchor.certificate.notAfter);
    this.#known = known ?? {
      issuers: new KnownIssuers(anchor.certificate),
      chains: new BoundedMap(MAX_LEAVES),
      platforms: new WeakMap(),
    };
  }

  /** The leaf of a chain that leads to the anchor and of which nothing is revoked. */
  leafOf(pem: string): Certificate {
    return this.chainOf(pem).leaf;
  }

  chainOf(pem: string): VerifiedChain {
    const known = this.#known.chains.get(pem);
    return known !== undefined && this.at < known.endsAt ? known : this.#verify(pem);
  }

  /** A chain whose leaf is a platform's, and what that says; read once like the chain. */
  pckOf(pem: string): VerifiedPck {
    const chain = this.chainOf(pem);
    const platform = this.#known.platforms.get(chain.leaf) ?? parsePlatformIdentity(chain.leaf);
    this.#known.platforms.set(chain.leaf, platform);
    return { ...chain, platform };
  }

  /** For the next verification with the same lists. What was verified stands at a later time, up to its end; at an earlier one it need not. */
  later(at: number): ChainVerifier {
    return new ChainVerifier(this.anchor, at, this.lists, this.#known);
  }

  #verify(pem: string): VerifiedChain {
    const { issuers, chains } = this.#known;
    const path = verifyPath(parseChain(pem, issuers), { anchor: this.anchor, at: this.at, issuers });
    verifyUnrevoked(path, this.anchor, this.lists);
    const [leaf, ...authorities] = path;
    issuers.keep(authorities);
    const verified = { leaf, endsAt: Math.min(...path.map(({ notAfter }) => notAfter)) };
    if (pem.length <= MAX_REMEMBERED_PEM) chains.set(pem, verified);
    return verified;
  }
}

export function openChains(
  { rootCaCrl, pckCrl }: Pick<Collateral, "rootCaCrl" | "pckCrl">,
  anchor: TrustAnchor,
  now: Date,
): ChainVerifier {
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
