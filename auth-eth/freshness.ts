/** Whether a block is recent enough to decide from: its age by the local clock, and never behind what this process has seen. */
import { UnavailableError } from "./unavailable.ts";

export interface Freshness {
  /** Throws unavailable.stale unless the head's time is within the limit, before or after the local clock. */
  checkAge(timestamp: number): void;
  /** The block below which a read that begins now must not be. */
  floor(): number;
  /** Only by a block that the reads themselves named: a header alone may name any number and close the door for good. */
  raise(number: number): void;
}

export function createFreshness(maxAgeSeconds: number, now: () => number = Date.now): Freshness {
  let floor = 0;
  return {
    checkAge(timestamp) {
      if (Math.abs(now() / 1000 - timestamp) > maxAgeSeconds) throw new UnavailableError("stale");
    },
    floor: () => floor,
    raise(number) {
      floor = Math.max(floor, number);
    },
  };
}
