/** The bodies of requests: each whole and bounded, whether its length is announced or not, and all that are held at once too. */

export const maxBodyBytes = 1024 * 1024;
/** A request of the KMS has a few thousand bytes: this is for ten thousand of them, or for 32 of the largest. */
export const maxHeldBodyBytes = 32 * maxBodyBytes;

/** `too-large`: the body alone exceeds its limit. `overloaded`: it would not fit beside those that are held. */
export type BodyRefusal = "too-large" | "overloaded";

export interface BodyReader {
  /** Nothing where the client broke the body off, which no answer reaches. */
  read(request: Request): Promise<Uint8Array | BodyRefusal>;
}

/** A body counts from before its first byte is read: an unannounced one as the largest there may be. */
export function createBodyReader(maxHeld: number = maxHeldBodyBytes): BodyReader {
  let held = 0;
  return {
    async read(request) {
      const announced = request.headers.get("content-length"); // the transport holds the body to it
      const size = announced === null ? maxBodyBytes : Number(announced);
      if (size > maxBodyBytes) return "too-large";
      if (held + size > maxHeld) return "overloaded";
      held += size;
      try {
        return announced === null ? await readUnannounced(request) : new Uint8Array(await request.arrayBuffer());
      } catch {
        return new Uint8Array();
      } finally {
        held -= size;
      }
    },
  };
}

async function readUnannounced(request: Request): Promise<Uint8Array | BodyRefusal> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > maxBodyBytes) return "too-large";
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
