/** How much strangers may make the KMS ask for: so many requests to begin with, so many a minute, and few at once. */
import { KmsError } from "../../errors.ts";

export interface BudgetLimits {
  readonly aMinute: number;
  readonly atOnce: number;
  /** For their turn. */
  readonly waiting: number;
}

export interface Budget {
  /** Refuses at once where nothing is left, or too many wait. */
  spend<T>(work: () => Promise<T>): Promise<T>;
  /** For a request that turned out to be no stranger's. */
  giveBack(): void;
}

/** It fills steadily: whoever empties it does so for a second, unless they go on. */
export function createBudget({ aMinute, atOnce, waiting }: BudgetLimits, seconds: () => number): Budget {
  const line: (() => void)[] = [];
  let running = 0;
  let left = aMinute;
  let filledAt = seconds();

  const fill = () => {
    const at = seconds();
    left = Math.min(aMinute, left + (Math.max(0, at - filledAt) * aMinute) / 60);
    filledAt = at;
  };

  return {
    async spend(work) {
      fill();
      if (left < 1 || (running >= atOnce && line.length >= waiting)) {
        throw new KmsError("unavailable.collateral", "pck_certificate: too many machines are unknown at once");
      }
      left -= 1;
      if (running < atOnce) running += 1;
      else await new Promise<void>((resolve) => line.push(resolve));
      try {
        return await work();
      } finally {
        const next = line.shift();
        if (next === undefined) running -= 1;
        else next(); // which takes over the place
      }
    },
    giveBack() {
      left = Math.min(aMinute, left + 1);
    },
  };
}
