/** The plain form of an archive: POSIX ustar with regular files only, so that `age -d | tar -x` restores one without this program. */
import { concat, fromUtf8, isZero, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";

export interface TarFile {
  readonly name: string;
  readonly content: Uint8Array;
}

const block = 512;
const regularFile = "0";
const maxEntries = 16;
/** Field offsets and lengths of a header, in the order of the standard. */
const fields = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 8],
} as const;
const magic = "ustar\u000000";
const blankChecksum = " ".repeat(8);

export function encodeTar(files: readonly TarFile[], seconds: number): Uint8Array {
  const parts = files.flatMap(({ name, content }) => [header(name, content.length, seconds), content, padding(content.length)]);
  return concat(...parts, new Uint8Array(2 * block));
}

/** Only what `encodeTar` writes: any other header, order of fields or rest is refused. Contents are views of the input. */
export function decodeTar(bytes: Uint8Array): TarFile[] {
  const files: TarFile[] = [];
  let offset = 0;
  while (!isZero(bytes.subarray(offset, offset + block))) {
    if (files.length === maxEntries) throw malformed(`more than ${maxEntries} files`);
    const { name, size } = readHeader(bytes.subarray(offset, offset + block));
    const end = offset + block + size;
    if (end > bytes.length) throw malformed(`${name}: need ${size} bytes, have ${bytes.length - offset - block}`);
    const content = bytes.subarray(offset + block, end);
    offset = end + padding(size).length;
    if (!isZero(bytes.subarray(end, offset))) throw malformed(`${name}: padding is not zero`);
    files.push({ name, content });
  }
  if (bytes.length !== offset + 2 * block || !isZero(bytes.subarray(offset))) throw malformed("does not end in two empty blocks");
  return files;
}

function header(name: string, size: number, seconds: number): Uint8Array {
  const bytes = new Uint8Array(block);
  const put = (field: keyof typeof fields, text: string) => bytes.set(utf8(text), fields[field][0]);
  put("name", name);
  put("mode", "0000600\0");
  put("uid", "0000000\0");
  put("gid", "0000000\0");
  put("size", `${octal(size)}\0`);
  put("mtime", `${octal(seconds)}\0`);
  put("checksum", blankChecksum);
  put("type", regularFile);
  put("magic", magic);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  put("checksum", `${sum.toString(8).padStart(6, "0")}\0 `);
  return bytes;
}

/** A header is right when writing it again gives the same bytes. */
function readHeader(bytes: Uint8Array): { name: string; size: number } {
  const text = (field: keyof typeof fields) => {
    const [start, length] = fields[field];
    return fromUtf8(bytes.subarray(start, start + length), `tar ${field}`, "malformed.backup").replace(/\0.*$/s, "");
  };
  const [name, size, seconds] = [text("name"), Number.parseInt(text("size"), 8), Number.parseInt(text("mtime"), 8)];
  const isWhole = bytes.length === block && name !== "" && Number.isSafeInteger(size) && Number.isSafeInteger(seconds);
  if (isWhole && Buffer.compare(header(name, size, seconds), bytes) === 0) return { name, size };
  throw malformed("a header is not of a regular file as this program writes it");
}

function octal(value: number): string {
  return value.toString(8).padStart(11, "0");
}

function padding(size: number): Uint8Array {
  return new Uint8Array((block - (size % block)) % block);
}

function malformed(what: string): KmsError {
  return new KmsError("malformed.backup", `backup: ${what}`);
}
