/** Reads a request body up to the limit, which holds while reading and not only where a length was announced. */
import { concat } from "../bytes.ts";
import { KmsError } from "../errors.ts";

/** The protocol's limit for every method: 10 MiB. */
export const MAX_BODY_BYTES = 10 * 1024 * 1024;

export async function readBody(request: Request): Promise<Uint8Array> {
  const announced = request.headers.get("content-length");
  if (announced === null) return readChunks(request.body);
  if (Number(announced) > MAX_BODY_BYTES) throw tooLarge();
  const body = new Uint8Array(await request.arrayBuffer().catch(interrupted));
  if (body.length > MAX_BODY_BYTES) throw tooLarge();
  return body;
}

async function readChunks(stream: ReadableStream<Uint8Array> | null): Promise<Uint8Array> {
  if (stream === null) return new Uint8Array();
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(interrupted);
    if (done) return concat(...chunks);
    length += value.length;
    if (length > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(value);
  }
}

function tooLarge(): KmsError {
  return new KmsError("malformed.body-too-large", "failed to read data: payload too large");
}

function interrupted(cause: unknown): never {
  throw new KmsError("malformed.request", "failed to read data: the body ended early", { cause });
}
