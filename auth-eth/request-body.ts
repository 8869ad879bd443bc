/** The body of a request, whole and bounded, whether its length is announced or not. */

export const maxBodyBytes = 1024 * 1024;

/** Undefined where it is too large; nothing where the client broke it off, which no answer reaches. */
export async function readBody(request: Request): Promise<Uint8Array | undefined> {
  const announced = request.headers.get("content-length"); // the transport holds the body to it
  if (Number(announced) > maxBodyBytes) return undefined;
  try {
    return announced === null ? await readUnannounced(request) : new Uint8Array(await request.arrayBuffer());
  } catch {
    return new Uint8Array();
  }
}

async function readUnannounced(request: Request): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > maxBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
