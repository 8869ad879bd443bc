/** Whether a verification that was made earlier would rest on the very same things if it were made now. */
import type { Collateral } from "./tdx/collateral.ts";
import type { TrustAnchor } from "./tdx/trust-anchor.ts";
import type { VerifiedEvidence } from "./verifier.ts";

export interface StandingSettings {
  readonly tdxRoot: TrustAnchor;
  /** Of the collateral store: false as soon as it would give other collateral or ask for some. */
  readonly isCurrent: (collateral: Collateral) => boolean;
  readonly now: () => Date;
}

/** True only for the same trust anchor, the same collateral, and a time at which nothing of the proof has ended. */
export type Stands = (evidence: VerifiedEvidence) => boolean;

export function createStands({ tdxRoot, isCurrent, now }: StandingSettings): Stands {
  return ({ basis, quote }) => {
    const at = now().getTime();
    // a clock that was set back is another time too: dates that begin may not have begun
    const isInTime = at >= basis.now.getTime() && Math.floor(at / 1000) < quote.endsAt;
    return isInTime && basis.anchor === tdxRoot && isCurrent(basis.collateral);
  };
}
