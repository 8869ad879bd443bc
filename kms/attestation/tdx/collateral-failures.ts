/** What failed a moment ago is not asked for over and over: after some failures in a minute, who asks is told how the last one ended. */
import { BoundedMap } from "../../bounded-map.ts";

/** A stranger can name what the service does not have, and would otherwise use up its patience for all. */
const FAILURES_A_MINUTE = 6;
/** There are some dozens of platforms; of machines' names strangers make up any number, which the number of requests bounds. */
const MAX_FAILED = 512;

interface Failed {
  readonly minute: number;
  readonly count: number;
  readonly last: unknown;
}

export class RecentFailures {
  readonly #failed = new BoundedMap<string, Failed>(MAX_FAILED);
  readonly #seconds: () => number;

  /** Whole seconds since 1970. */
  constructor(seconds: () => number) {
    this.#seconds = seconds;
  }

  /** Throws what the last attempt threw. */
  requireFew(name: string): void {
    const failed = this.#failed.get(name);
    if (failed?.minute === this.#minute() && failed.count >= FAILURES_A_MINUTE) throw failed.last;
  }

  note(name: string, last: unknown): void {
    const minute = this.#minute();
    const before = this.#failed.get(name);
    this.#failed.set(name, { minute, count: before?.minute === minute ? before.count + 1 : 1, last });
  }

  forget(name: string): void {
    this.#failed.delete(name);
  }

  #minute(): number {
    return Math.floor(this.#seconds() / 60);
  }
}
