/** Collateral whose lists, chains, signatures and dates were verified, kept for the next quote: the same for every quote of a platform. */
import type { ChainVerifier } from "./chain-verifier.ts";
import type { Collateral } from "./collateral.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import type { VerifiedCollateral } from "./verify.ts";

export interface Opened {
  readonly chains: ChainVerifier;
  readonly signed: VerifiedCollateral;
}

interface Kept extends Opened {
  /** Seconds since 1970 at which its first part ends. */
  readonly endsAt: number;
}

/** Belongs to one verifier. An entry lives as long as the collateral value itself, so what a store replaced is forgotten with it. */
export class OpenedCollateral {
  readonly #kept = new WeakMap<Collateral, Kept>();

  /** Only for the same anchor and a time that is not before the last one and not at an end: then every check has the same outcome. */
  recall(collateral: Collateral, anchor: TrustAnchor, now: Date): Opened | undefined {
    const found = this.#kept.get(collateral);
    if (found === undefined) return undefined;
    const at = Math.floor(now.getTime() / 1000);
    if (found.chains.anchor !== anchor || at < found.chains.at || at >= found.endsAt) {
      this.#kept.delete(collateral);
      return undefined;
    }
    const opened = { chains: found.chains.later(at), signed: found.signed };
    this.#kept.set(collateral, { ...opened, endsAt: found.endsAt });
    return opened;
  }

  keep(collateral: Collateral, { chains, signed }: Opened): void {
    this.#kept.set(collateral, { chains, signed, endsAt: Math.min(chains.endsAt, signed.nextUpdate) });
  }
}
