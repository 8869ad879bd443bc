/** What this KMS knows about itself: its own appraised boot, kept for a bounded time so that a new TCB state is noticed. */
import type { AppraisedBoot } from "../attestation/appraise.ts";

/** A process may run for months; the collateral that judges it does not stay the same. */
export const SELF_BOOT_MAX_AGE_MS = 10 * 60 * 1000;

export type SelfBoot = () => Promise<AppraisedBoot>;

/** Callers that come while the evidence is being made share it; a failure is not kept. */
export function keepSelfBoot(attest: SelfBoot, now: () => Date): SelfBoot {
  let kept: { readonly since: number; readonly boot: Promise<AppraisedBoot> } | undefined;
  return () => {
    const age = kept === undefined ? Number.POSITIVE_INFINITY : now().getTime() - kept.since;
    if (kept !== undefined && age >= 0 && age < SELF_BOOT_MAX_AGE_MS) return kept.boot;
    const fresh = { since: now().getTime(), boot: attest() };
    kept = fresh;
    fresh.boot.catch(() => {
      if (kept === fresh) kept = undefined;
    });
    return fresh.boot;
  };
}
