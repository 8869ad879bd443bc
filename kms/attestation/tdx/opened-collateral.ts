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
  readonly collateral: Collateral;
}

/** Belongs to one verifier. An entry lives as long as the TCB info it was made with, so what a store replaced is forgotten with it. */
export class OpenedCollateral {
  /**
   * By the bytes of the signature of the TCB info, as an object: collateral of two platforms shares its lists and QE identity and differs
   * here, and copies of one collateral, each with the chain of another machine, share it.
   */
  readonly #kept = new WeakMap<Uint8Array, Kept>();

  /** Only for the same anchor and a time that is not before the last one and not at an end: then every check has the same outcome. */
  recall(collateral: Collateral, anchor: TrustAnchor, now: Date): Opened | undefined {
    const found = this.#kept.get(collateral.tcbInfoSignature);
    if (found === undefined || !isSame(found.collateral, collateral)) return undefined;
    const at = Math.floor(now.getTime() / 1000);
    const stands = found.chains.anchor === anchor && at >= found.chains.at && at < found.signed.nextUpdate;
    return stands ? { chains: found.chains.later(at), signed: found.signed } : undefined;
  }

  /** What was verified, or recalled for a later time. */
  keep(collateral: Collateral, opened: Opened): void {
    this.#kept.set(collateral.tcbInfoSignature, { collateral, ...opened });
  }
}

/** Apart from the chain of a machine, which is verified for each quote. Bytes count as the same only if they are the same object. */
function isSame(a: Collateral, b: Collateral): boolean {
  return (
    a.rootCaCrl === b.rootCaCrl &&
    a.pckCrl === b.pckCrl &&
    a.tcbInfo === b.tcbInfo &&
    a.tcbInfoIssuerChain === b.tcbInfoIssuerChain &&
    a.qeIdentity === b.qeIdentity &&
    a.qeIdentitySignature === b.qeIdentitySignature &&
    a.qeIdentityIssuerChain === b.qeIdentityIssuerChain
  );
}
