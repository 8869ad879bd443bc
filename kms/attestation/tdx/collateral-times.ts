/** When a kept part is looked for anew, and what may be served meanwhile. Times are whole seconds since 1970. */
import type { Kept } from "./collateral-shelf.ts";

/** Lists and levels run for a month: a revocation or a lowered status that Intel has published must not wait that long. */
const CHECK_SECONDS = 60 * 60;
/** In the background it is asked earlier, so that no request comes to wait. */
const BACKGROUND_SECONDS = CHECK_SECONDS / 2;
/** How soon a service that was away is asked again. */
const RETRY_SECONDS = 60;
/** A clock that was set back by more was wrong before or is wrong now. */
const CLOCK_SLACK_SECONDS = 60;

export function isGood(kept: Kept | undefined, at: number): kept is Kept {
  return kept !== undefined && at <= kept.part.lastSecond;
}

/** When the background asks: in time before an end that is near, and again soon after a failure. */
export function dueAt({ part, checkedAt, failedAt }: Kept): number {
  const toEnd = (from: number) => Math.max(1, Math.floor((part.lastSecond - from) / 2));
  if (failedAt !== undefined) return failedAt + Math.min(RETRY_SECONDS, toEnd(failedAt));
  return checkedAt === undefined ? 0 : checkedAt + Math.min(BACKGROUND_SECONDS, toEnd(checkedAt));
}

/** Only a service without a usable answer leaves in force what was not confirmed for an hour. */
export function isOverdue(kept: Kept, at: number): boolean {
  const { checkedAt, failedAt } = kept;
  return failedAt === undefined && (checkedAt === undefined || !isRecent(checkedAt, at, CHECK_SECONDS));
}

/** Between two attempts at a service that is away, what is kept counts as the newest there is. */
export function isConfirmed({ checkedAt, failedAt }: Kept, at: number): boolean {
  if (checkedAt !== undefined && isRecent(checkedAt, at, CHECK_SECONDS)) return true;
  return failedAt !== undefined && isRecent(failedAt, at, RETRY_SECONDS);
}

function isRecent(then: number, at: number, seconds: number): boolean {
  return at - then < seconds && at - then >= -CLOCK_SLACK_SECONDS;
}
