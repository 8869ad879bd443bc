/** Reads a request body up to the limit, which holds while reading and not only where a length was announced. */
import { KmsError } from "../errors.ts";

/** The protocol's limit for every method: 10 MiB. */
export const MAX_BODY_BYTES = 10 * 1024 * 1024;

const FIRST_BUFFER_BYTES = 4096;

export async function readBody(request: Request): Promise<Uint8Array> {
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const body = new GrowingBuffer();
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
  #buffer = new Uint8Array(FIRST_BUFFER_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  append(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length;
    if (needed > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
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
