/** What this KMS knows about itself: its own appraised boot, kept only while the proof stands and for a bounded time. */
import type { AppraisedBoot } from "../attestation/appraise.ts";
import { asKmsError } from "../errors.ts";

/** A process may run for months; the platform and what Intel says about it do not stay the same. */
export const SELF_BOOT_MAX_AGE_MS = 10 * 60 * 1000;
/** How often the evidence is made anew ahead of requests, which need not wait for a quote then. */
export const SELF_BOOT_RENEWAL_MS = 4 * 60 * 1000;

export type SelfBoot = () => Promise<AppraisedBoot>;

export interface SelfBootSettings {
  /** Makes and verifies fresh evidence. */
  readonly attest: SelfBoot;
  /** False as soon as the collateral behind the boot was replaced or ended: then the evidence is made and judged anew. */
  readonly stands: (boot: AppraisedBoot) => boolean;
  /** Milliseconds that no host can set back. */
  readonly clock: () => number;
}

export interface KeptSelfBoot {
  readonly current: SelfBoot;
  /** For a timer: makes a new one while the kept one goes on being used. */
  readonly renew: () => Promise<void>;
}

/** Callers that come while the evidence is being made share it; a failure is not kept. */
export function keepSelfBoot({ attest, stands, clock }: SelfBootSettings): KeptSelfBoot {
  let kept: { readonly since: number; readonly boot: AppraisedBoot } | undefined;
  let running: Promise<AppraisedBoot> | undefined;

  async function make(): Promise<AppraisedBoot> {
    const since = clock();
    try {
      const boot = await attest();
      kept = { since, boot };
      return boot;
    } catch (thrown) {
      // an agent or a PCCS that is away proves nothing new; anything else is a judgement on this KMS
      if (asKmsError(thrown).family !== "unavailable") kept = undefined;
      throw thrown;
    }
  }

  const shared = (): Promise<AppraisedBoot> => {
    running ??= make().finally(() => {
      running = undefined;
    });
    return running;
  };

  return {
    async current() {
      if (kept !== undefined && clock() - kept.since < SELF_BOOT_MAX_AGE_MS && stands(kept.boot)) return kept.boot;
      return shared();
    },
    async renew() {
      await shared();
    },
  };
}
