/** Files that an operator names: a size limit, and one error that says which file. */
import { open } from "node:fs/promises";
import { fromUtf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";

/** Reads at most the limit, whatever the file's size claims to be: it may be a pipe. */
export async function readInput(path: string, maxBytes: number): Promise<Uint8Array> {
  try {
    const file = await open(path);
    try {
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of file.createReadStream({ autoClose: false })) {
        size += chunk.length;
        if (size > maxBytes) throw new KmsError("malformed.file", `${path}: need at most ${maxBytes} bytes`);
        chunks.push(chunk);
      }
      return new Uint8Array(Buffer.concat(chunks));
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw new KmsError("malformed.file", `${path}: cannot be read`, { cause });
  }
}

export async function readInputText(path: string, maxBytes: number): Promise<string> {
  return fromUtf8(await readInput(path, maxBytes), path, "malformed.file");
}
