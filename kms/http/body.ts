/** Reads a request body up to the limit, which holds while reading and not only where a length was announced. */
import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
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

/** A request as Node has it: its body through web streams would cost more than all the rest of the transport. */
export type IncomingBody = Readable & Pick<IncomingMessage, "headers">;

export async function readBody(request: IncomingBody, lease: BodyLease): Promise<Uint8Array> {
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  if (request.destroyed) throw interrupted();
  const body = new GrowingBuffer(lease);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onData = (chunk: Uint8Array) => {
    try {
      body.append(chunk);
    } catch (thrown) {
      reject(thrown);
      request.pause(); // what is left is for the listener to throw away
    }
  };
  let isWhole = false;
  const onEnd = () => {
    isWhole = true;
    resolve();
  };
  const onCut = (cause?: unknown) => {
    if (!isWhole) reject(interrupted(cause)); // every request is closed after its end, and errors are dear to make
  };
  request.on("data", onData).on("end", onEnd).on("error", onCut).on("close", onCut);
  try {
    await promise;
    return body.bytes();
  } finally {
    request.off("data", onData).off("end", onEnd).off("close", onCut);
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

  append(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length;
    if (needed > MAX_BODY_BYTES) throw tooLarge();
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

function interrupted(cause?: unknown): KmsError {
  return new KmsError("malformed.request", "failed to read data: the body ended early", { cause });
}
