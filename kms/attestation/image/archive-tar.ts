/** Reads a tar archive front to back without holding it: regular files and directories, and nothing that says otherwise about them later. */
import { fromUtf8, isZero } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";

export interface TarLimits {
  /** Headers of any kind. */
  readonly entries: number;
  readonly fileBytes: number;
  /** Of everything that comes out of the decompression. */
  readonly totalBytes: number;
}

export interface TarFile {
  /** The components of the path, without `.`; never `..`, never none. */
  readonly path: readonly string[];
  readonly size: number;
  /** What is not read by the time of the next file is skipped. */
  readonly content: AsyncIterable<Uint8Array>;
}

const BLOCK_BYTES = 512;
const MAX_PAX_BYTES = 64 * 1024;
const MAX_PAX_KEY_BYTES = 256;
/** Writers fill up their last record, of 10 KiB as a rule. */
const MAX_END_BYTES = 1024 * 1024;
const fields = {
  name: [0, 100],
  size: [124, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 6],
  prefix: [345, 155],
} as const;
type Field = keyof typeof fields;

/** Records of extended headers that change what is extracted; times, owners and attributes do not matter. */
const refusedRecords = /^(?:path|linkpath|size|charset|hdrcharset|GNU\.sparse\..*)$/;

export async function* readTar(chunks: AsyncIterable<Uint8Array>, limits: TarLimits): AsyncGenerator<TarFile, void, undefined> {
  const input = new Blocks(chunks, limits.totalBytes);
  for (let count = 0; ; count += 1) {
    const block = await input.exactly(BLOCK_BYTES, "header");
    if (isZero(block)) return await readEnd(input);
    if (count >= limits.entries) throw refuse(`more than ${limits.entries} entries`);
    const { type, size, path } = readHeader(block);
    if (type === "pax") {
      checkRecords(await input.exactly(needSize(size, MAX_PAX_BYTES, "extended header"), "extended header"));
    } else if (type === "file") {
      if (path.length === 0) throw refuse("a file without a name");
      needSize(size, limits.fileBytes, path.join("/"));
      const content = input.pieces(size, path.join("/"));
      yield { path, size, content };
      for await (const _skipped of content);
    }
    await input.exactly(padding(size), "padding");
  }
}

interface Header {
  readonly type: "file" | "directory" | "pax";
  readonly size: number;
  readonly path: readonly string[];
}

const kinds: Readonly<Record<string, string>> = {
  "1": "a hard link",
  "2": "a symbolic link",
  "3": "a character device",
  "4": "a block device",
  "6": "a pipe",
  K: "a long link name",
  L: "a name of more than 100 bytes",
  S: "a sparse file",
};

function readHeader(block: Uint8Array): Header {
  needChecksum(block);
  const type = text(block, "type");
  const size = octal(block, "size");
  if (type === "x" || type === "g") return { type: "pax", size, path: [] };
  const name = text(block, "name");
  const prefix = text(block, "magic") === "ustar" && block[262] === 0 ? text(block, "prefix") : ""; // GNU keeps times there
  const path = componentsOf(prefix === "" ? name : `${prefix}/${name}`);
  if (type === "5" || ((type === "" || type === "0") && name.endsWith("/"))) {
    if (size !== 0) throw refuse("a directory with content");
    return { type: "directory", size, path };
  }
  if (type !== "" && type !== "0")
    throw refuse(`need regular files and directories, have ${kinds[type] ?? "an entry of another type"}`);
  return { type: "file", size, path };
}

function componentsOf(path: string): readonly string[] {
  if (path.startsWith("/")) throw refuse("an absolute path");
  const components = path.split("/").filter((component) => component !== "" && component !== ".");
  if (components.includes("..")) throw refuse("a path that leads out of the archive");
  return components;
}

/** An extended header: records of `length key=value` and a line feed, the length that of the whole record. */
function checkRecords(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const start = Buffer.from(bytes.subarray(at, at + MAX_PAX_KEY_BYTES)).toString("latin1");
    const [head = "", digits = "", key = ""] = /^([0-9]{1,6}) ([^=\n]+)=/.exec(start) ?? [];
    const length = Number(digits);
    const isWhole = head !== "" && length > head.length && at + length <= bytes.length && bytes[at + length - 1] === 0x0a;
    if (!isWhole) throw refuse("an extended header that cannot be read");
    if (refusedRecords.test(key)) throw refuse(`an extended header that sets ${key}`);
    at += length;
  }
}

/** Two empty blocks, and nothing but zeros behind them: a second archive there would be one that other readers see. */
async function readEnd(input: Blocks): Promise<void> {
  if (!isZero(await input.exactly(BLOCK_BYTES, "end"))) throw refuse("one empty block, need two at its end");
  let behind = 0;
  for await (const piece of input.rest()) {
    behind += piece.length;
    if (behind > MAX_END_BYTES || !isZero(piece)) throw refuse("bytes behind its end");
  }
}

/** The input as one run of bytes, counted. */
class Blocks {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #limit: number;
  #held: Uint8Array = new Uint8Array(0);
  #total = 0;

  constructor(chunks: AsyncIterable<Uint8Array>, limit: number) {
    this.#source = chunks[Symbol.asyncIterator]();
    this.#limit = limit;
  }

  async exactly(length: number, what: string): Promise<Uint8Array> {
    const whole = new Uint8Array(length);
    let at = 0;
    for await (const piece of this.pieces(length, what)) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  /** Each call of the iterable goes on where the last one stopped. */
  pieces(length: number, what: string): AsyncIterable<Uint8Array> {
    let left = length;
    const next = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
      if (left === 0) return { done: true, value: undefined };
      const piece = await this.#some(left);
      if (piece === undefined) throw refuse(`ends early in ${what}, ${left} bytes are missing`);
      left -= piece.length;
      return { done: false, value: piece };
    };
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  async *rest(): AsyncGenerator<Uint8Array, void, undefined> {
    const most = MAX_END_BYTES;
    for (let piece = await this.#some(most); piece !== undefined; piece = await this.#some(most)) yield piece;
  }

  async #some(most: number): Promise<Uint8Array | undefined> {
    while (this.#held.length === 0) {
      const { done, value } = await this.#source.next();
      if (done === true) return undefined;
      this.#total += value.length;
      if (this.#total > this.#limit) throw refuse(`more than ${this.#limit} bytes unpacked`);
      this.#held = value;
    }
    const piece = this.#held.subarray(0, most);
    this.#held = this.#held.subarray(piece.length);
    return piece;
  }
}

/** The sum of all bytes with the field itself as spaces. */
function needChecksum(block: Uint8Array): void {
  const [start, length] = fields.checksum;
  let sum = 0;
  for (const [index, byte] of block.entries()) sum += index >= start && index < start + length ? 0x20 : byte;
  if (sum !== octal(block, "checksum")) throw refuse("a header whose checksum is wrong");
}

function octal(block: Uint8Array, field: Field): number {
  const digits = /^ *([0-7]+)$/.exec(text(block, field).trimEnd())?.[1];
  if (digits === undefined) throw refuse(`a header without an octal ${field}`);
  return Number.parseInt(digits, 8);
}

/** Up to the first zero byte. */
function text(block: Uint8Array, field: Field): string {
  const [start, length] = fields[field];
  const bytes = block.subarray(start, start + length);
  const end = bytes.indexOf(0);
  return fromUtf8(end < 0 ? bytes : bytes.subarray(0, end), `archive: ${field}`, "malformed.archive");
}

function needSize(size: number, most: number, what: string): number {
  if (size > most) throw refuse(`${what}: need at most ${most} bytes, have ${size}`);
  return size;
}

function padding(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
}

function refuse(what: string): KmsError {
  return new KmsError("malformed.archive", `archive: ${what}`);
}
