/** Checks passwords against bcrypt hashes, at a pace that guessing cannot raise. */
import { Worker } from "node:worker_threads";
import { hashSync } from "bcryptjs";
import { BoundedMap } from "../bounded-map.ts";
import type { PasswordHashes } from "./htpasswd.ts";

export type PasswordVerdict = "right" | "wrong" | "too-many";

export interface PasswordCheck {
  /** `from` is the address that asks: its failures count against itself. */
  check(user: string, password: string, from: string): Promise<PasswordVerdict>;
}

export interface PasswordLimits {
  /** Wrong passwords of one address before it has to wait. */
  readonly failures: number;
  /** After this time one failure is forgotten. */
  readonly forgetMs: number;
  /** Comparisons that wait for their turn; they run one at a time. */
  readonly waiting: number;
  /** Addresses remembered; the longest silent one is forgotten first. */
  readonly addresses: number;
}

export const passwordLimits: PasswordLimits = { failures: 10, forgetMs: 30_000, waiting: 8, addresses: 1_024 };

const MAX_PASSWORD_CHARACTERS = 1_024;
const WORKER = new URL("./bcrypt-worker.ts", import.meta.url);

export interface PasswordCheckSettings {
  readonly hashes: PasswordHashes;
  readonly now: () => number;
  readonly limits?: Partial<PasswordLimits>;
  readonly compare?: (password: string, hash: string) => Promise<boolean>;
}

export function createPasswordCheck({
  hashes,
  now,
  limits: changes,
  compare = compareApart,
}: PasswordCheckSettings): PasswordCheck {
  const limits = { ...passwordLimits, ...changes };
  const failures = new FailureCount(limits);
  const nobody = hashOfNobody(hashes);
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  return {
    async check(user, password, from) {
      if (password.length > MAX_PASSWORD_CHARACTERS) return "wrong";
      if (waiting >= limits.waiting || failures.isFull(from, now())) return "too-many";
      waiting += 1;
      // an unknown user costs as much as a known one, so that the time tells nobody who has an account
      const turn = last.then(() => compare(password, hashes.get(user) ?? nobody));
      last = turn.catch(() => undefined);
      try {
        if ((await turn) && hashes.has(user)) return "right";
      } finally {
        waiting -= 1;
      }
      failures.add(from, now());
      return "wrong";
    },
  };
}

/** Failures by address; time forgets them one by one. */
class FailureCount {
  readonly #limits: PasswordLimits;
  readonly #byAddress: BoundedMap<string, { count: number; since: number }>;

  constructor(limits: PasswordLimits) {
    this.#limits = limits;
    this.#byAddress = new BoundedMap(limits.addresses);
  }

  isFull(address: string, now: number): boolean {
    return this.#current(address, now).count >= this.#limits.failures;
  }

  add(address: string, now: number): void {
    const { count, since } = this.#current(address, now);
    this.#byAddress.set(address, { count: count + 1, since: count === 0 ? now : since });
  }

  #current(address: string, now: number): { count: number; since: number } {
    const { count, since } = this.#byAddress.get(address) ?? { count: 0, since: now };
    const forgotten = Math.floor(Math.max(0, now - since) / this.#limits.forgetMs);
    return { count: Math.max(0, count - forgotten), since: since + forgotten * this.#limits.forgetMs };
  }
}

/** As expensive as the most expensive real one; no password fits, as nobody's name is never in the file. */
function hashOfNobody(hashes: PasswordHashes): string {
  const costs = [...hashes.values()].map((hash) => hash.slice(4, 6)).sort();
  return `$2b$${costs.at(-1) ?? "10"}${hashSync("", 4).slice(6)}`;
}

function compareApart(password: string, hash: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const worker = new Worker(WORKER, { workerData: { password, hash }, resourceLimits: { maxOldGenerationSizeMb: 64 } });
  worker.once("message", (isRight: unknown) => resolve(isRight === true));
  worker.once("error", reject).once("exit", () => reject(new Error("the comparison ended without a result")));
  return promise;
}
