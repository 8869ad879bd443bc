/** How many calls are worked on at once. Who finds no place is told so at once: a client has other nodes, and waiting lines grow. */
import { KmsError } from "../errors.ts";

/** A webhook takes twice as many at a time; at some milliseconds each, the last of these waits about a second. */
export const MAX_PLACES = 128;

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
