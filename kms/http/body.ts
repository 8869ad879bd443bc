/** Reads a request body up to the limit, which holds while reading and not only where a length was announced. */
import { KmsError } from "../errors.ts";

/** The protocol's limit for every method: 10 MiB. */
export const MAX_BODY_BYTES = 10 * 1024 * 1024;

const FIRST_BUFFER_BYTES = 4096;
/** Bodies of real callers have a few kilobytes: up to here nobody waits for anybody else's memory. */
export const SMALL_BODY_BYTES = 64 * 1024;
/** For all larger bodies of a listener together: a full one on each connection that may be open would be 20 GB. */
export const MAX_HELD_BYTES = 256 * 1024 * 1024;

/** What the larger bodies of one listener hold, from their arrival to the end of their answers. */
export class BodyMemory {
  readonly #limit: number;
  #held = 0;

  constructor(limit: number = MAX_HELD_BYTES) {
    this.#limit = limit;
  }

  lease(): BodyLease {
    let own = 0;
    return {
      need: (bytes) => {
        const counted = bytes > SMALL_BODY_BYTES ? bytes : 0;
        if (this.#held - own + counted > this.#limit) {
          throw new KmsError("unavailable.overloaded", "failed to read data: too many large requests are running");
        }
        this.#held += counted - own;
        own = counted;
      },
      end: () => {
        this.#held -= own;
        own = 0;
      },
    };
  }
}

export interface BodyLease {
  /** The size that the body's buffer is about to have. */
  need(bytes: number): void;
  end(): void;
}

export async function readBody(request: Request, lease: BodyLease): Promise<Uint8Array> {
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const body = new GrowingBuffer(lease);
  const reader = request.body?.getReader();
  for (;;) {
    const read = await reader?.read().catch(interrupted);
    if (read === undefined || read.done) return body.bytes();
    if (body.length + read.value.length > MAX_BODY_BYTES) throw tooLarge();
    body.append(read.value);
  }
}

/**
 * Holds what has arrived, and at most twice that: neither an announced length that never comes nor a body in chunks of one byte,
 * each of them an object, costs more memory than its own size.
 */
class GrowingBuffer {
  readonly #lease: BodyLease;
  #buffer = new Uint8Array(FIRST_BUFFER_BYTES);
  #length = 0;

  constructor(lease: BodyLease) {
    this.#lease = lease;
  }

  get length(): number {
    return this.#length;
  }

  append(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length;
    if (needed > this.#buffer.length) {
      const size = Math.min(Math.max(needed, this.#buffer.length * 2), MAX_BODY_BYTES);
      this.#lease.need(size);
      const larger = new Uint8Array(size);
      larger.set(this.bytes());
      this.#buffer = larger;
    }
    this.#buffer.set(chunk, this.#length);
    this.#length = needed;
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }
}

function tooLarge(): KmsError {
  return new KmsError("malformed.body-too-large", "failed to read data: payload too large");
}

function interrupted(cause: unknown): never {
  throw new KmsError("malformed.request", "failed to read data: the body ended early", { cause });
}
