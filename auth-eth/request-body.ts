/** The body of a request, whole and bounded, whether its length is announced or not. */

export const maxBodyBytes = 1024 * 1024;

/** Undefined where it is too large. The transport holds a body to the length that it announces. */
export async function readBody(request: Request): Promise<Uint8Array | undefined> {
  const announced = request.headers.get("content-length");
  if (announced !== null) return Number(announced) > maxBodyBytes ? undefined : new Uint8Array(await request.arrayBuffer());
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > maxBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
