/** How many calls are worked on at once. Who finds no place is told so at once: a client has other nodes, and waiting lines grow. */
import { KmsError } from "../errors.ts";

/** A webhook takes twice as many at a time; at some milliseconds each, the last of these waits about a second. */
export const MAX_PLACES = 128;

/**
 * The caller's answer in time: what takes longer goes on, so that a caller who asks again later may find it done.
 * `since` is a value of `performance.now()` from which the limit counts.
 */
export async function inTime<T>(work: Promise<T>, limitMs: number | undefined, since: number): Promise<T> {
  if (limitMs === undefined) return work;
  const leftMs = Math.max(0, since + limitMs - performance.now());
  const late = Promise.withResolvers<never>();
  const message = `no result within ${limitMs} ms, the work goes on: try again later`;
  const timer = setTimeout(() => late.reject(new KmsError("unavailable.timeout", message)), leftMs);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

export class Places {
  readonly #limit: number;
  #taken = 0;

  constructor(limit: number = MAX_PLACES) {
    this.#limit = limit;
  }

  /** A place is held until the work has really ended, whether or not its caller is still there. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    if (this.#taken >= this.#limit) {
      throw new KmsError(
        "unavailable.overloaded",
        `too many requests are running: at most ${this.#limit}, try again or another node`,
      );
    }
    this.#taken += 1;
    try {
      return await work();
    } finally {
      this.#taken -= 1;
    }
  }
}
