/** MessagePack, strict and schema-driven: the reader is told what comes next, so hostile input builds no tree. */
import { ByteReader, concat, fromUtf8, utf8 } from "../bytes.ts";
import { type Code, KmsError } from "../errors.ts";

/** How deep a member that nobody reads may be nested. */
const MAX_SKIP_DEPTH = 16;
/** The largest map of the format has six; ten megabytes of keys that nobody knows would be a million strings to remember. */
const MAX_MEMBERS = 256;
/** Values passed over, all together. The parts of an envelope are, before they are read: a quote of single integers has five thousand. */
const MAX_SKIPPED = 1024 * 1024;

export class MsgpackReader {
  readonly #bytes: Uint8Array;
  readonly #reader: ByteReader;
  readonly #code: Code;
  #skipped = 0;

  constructor(bytes: Uint8Array, code: Code) {
    this.#bytes = bytes;
    this.#reader = new ByteReader(bytes, code);
    this.#code = code;
  }

  /** Reads a map with text keys. `member` reads the value of the keys it knows and answers false for others; no key may come twice. */
  map(field: string, member: (key: string) => boolean): void {
    const count = this.#mapSize(this.#reader.u8(field), field);
    if (count > MAX_MEMBERS) throw this.#refuse(`${field}: need at most ${MAX_MEMBERS} members, have ${count}`);
    const seen = new Set<string>();
    for (let index = 0; index < count; index++) {
      const key = this.text(`${field} key`);
      if (seen.has(key)) throw this.#refuse(`${field}: a key comes twice`);
      seen.add(key);
      if (!member(key)) this.skip(field);
    }
  }

  array<T>(field: string, limit: number, item: (field: string) => T): T[] {
    const count = this.#arraySize(this.#reader.u8(field), field);
    if (count > limit) throw this.#refuse(`${field}: need at most ${limit} entries, have ${count}`);
    const items: T[] = [];
    for (let index = 0; index < count; index++) items.push(item(`${field}[${index}]`));
    return items;
  }

  uint(field: string): number {
    const head = this.#reader.u8(field);
    if (head <= 0x7f) return head;
    if (head === 0xcc) return this.#reader.u8(field);
    if (head === 0xcd) return this.#reader.u16be(field);
    if (head === 0xce) return this.#reader.u32be(field);
    throw this.#refuse(`${field}: need an unsigned integer of at most 32 bits`);
  }

  text(field: string): string {
    const head = this.#reader.u8(field);
    const size = this.#textSize(head, field);
    if (size === undefined) throw this.#refuse(`${field}: need text`);
    return fromUtf8(this.#reader.take(size, field), field, this.#code);
  }

  /** A bin, or an array of small integers: readers take either for every byte field. */
  bytes(field: string): Uint8Array {
    const head = this.#reader.u8(field);
    const size = this.#binSize(head, field);
    if (size !== undefined) return this.#reader.take(size, field);
    const count = this.#arraySize(head, field);
    if (count > this.#reader.remaining) throw this.#refuse(`${field}: need ${count} bytes, have ${this.#reader.remaining}`);
    const bytes = new Uint8Array(count);
    for (let index = 0; index < count; index++) {
      const byte = this.uint(field);
      if (byte > 0xff) throw this.#refuse(`${field}: need bytes, have ${byte}`);
      bytes[index] = byte;
    }
    return bytes;
  }

  /** Passes over one value. */
  skip(field: string, depth = 0): void {
    if (depth > MAX_SKIP_DEPTH) throw this.#refuse(`${field}: nested deeper than ${MAX_SKIP_DEPTH}`);
    this.#skipped += 1;
    if (this.#skipped > MAX_SKIPPED) throw this.#refuse(`${field}: more than ${MAX_SKIPPED} values`);
    const head = this.#reader.u8(field);
    const plain = this.#plainSize(head, field);
    if (plain !== undefined) {
      this.#reader.take(plain, field);
      return;
    }
    const isMap = (head & 0xf0) === 0x80 || head === 0xde || head === 0xdf;
    const items = isMap ? 2 * this.#mapSize(head, field) : this.#arraySize(head, field);
    for (let index = 0; index < items; index++) this.skip(field, depth + 1);
  }

  /** Passes over one value and keeps a reader of it: for where a map's `data` stands before its `kind`. */
  slice(field: string): MsgpackReader {
    const from = this.#reader.offset;
    this.skip(field);
    return new MsgpackReader(this.#bytes.subarray(from, this.#reader.offset), this.#code);
  }

  end(what: string): void {
    this.#reader.end(what);
  }

  #mapSize(head: number, field: string): number {
    if ((head & 0xf0) === 0x80) return head & 0x0f;
    if (head === 0xde) return this.#reader.u16be(field);
    if (head === 0xdf) return this.#reader.u32be(field);
    throw this.#refuse(`${field}: need a map`);
  }

  #arraySize(head: number, field: string): number {
    if ((head & 0xf0) === 0x90) return head & 0x0f;
    if (head === 0xdc) return this.#reader.u16be(field);
    if (head === 0xdd) return this.#reader.u32be(field);
    throw this.#refuse(`${field}: need an array`);
  }

  #textSize(head: number, field: string): number | undefined {
    if ((head & 0xe0) === 0xa0) return head & 0x1f;
    return this.#sizeAfter(head, 0xd9, field);
  }

  #binSize(head: number, field: string): number | undefined {
    return this.#sizeAfter(head, 0xc4, field);
  }

  /** The three heads from `first` on carry a length of 8, 16 and 32 bits. */
  #sizeAfter(head: number, first: number, field: string): number | undefined {
    if (head === first) return this.#reader.u8(field);
    if (head === first + 1) return this.#reader.u16be(field);
    if (head === first + 2) return this.#reader.u32be(field);
    return undefined;
  }

  /** The content length of a value that holds no other values; extension types are refused. */
  #plainSize(head: number, field: string): number | undefined {
    if (head <= 0x7f || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) return 0;
    if (head === 0xca) return 4;
    if (head === 0xcb) return 8;
    if (head >= 0xcc && head <= 0xcf) return 2 ** (head - 0xcc);
    if (head >= 0xd0 && head <= 0xd3) return 2 ** (head - 0xd0);
    if (head === 0xc1 || (head >= 0xc7 && head <= 0xd8)) throw this.#refuse(`${field}: no value starts with byte ${head}`);
    return this.#textSize(head, field) ?? this.#binSize(head, field);
  }

  #refuse(message: string): KmsError {
    return new KmsError(this.#code, message);
  }
}

function head(size: number, fix: { limit: number; base: number } | undefined, wide: readonly (number | undefined)[]): Uint8Array {
  if (fix !== undefined && size < fix.limit) return Uint8Array.of(fix.base + size);
  const [byte8, byte16, byte32] = wide;
  if (byte8 !== undefined && size < 2 ** 8) return Uint8Array.of(byte8, size);
  if (byte16 !== undefined && size < 2 ** 16) return Uint8Array.of(byte16, size >> 8, size & 0xff);
  return Uint8Array.of(byte32 ?? 0, size >>> 24, (size >> 16) & 0xff, (size >> 8) & 0xff, size & 0xff);
}

/** The shortest unsigned form. */
export function packUint(value: number): Uint8Array {
  return head(value, { limit: 0x80, base: 0 }, [0xcc, 0xcd, 0xce]);
}

export function packText(text: string): Uint8Array {
  const bytes = utf8(text);
  return concat(head(bytes.length, { limit: 32, base: 0xa0 }, [0xd9, 0xda, 0xdb]), bytes);
}

export function packBin(bytes: Uint8Array): Uint8Array {
  return concat(head(bytes.length, undefined, [0xc4, 0xc5, 0xc6]), bytes);
}

export function packArray(items: readonly Uint8Array[]): Uint8Array {
  return concat(head(items.length, { limit: 16, base: 0x90 }, [undefined, 0xdc, 0xdd]), ...items);
}

/** Bytes as an array of integers, the form of quotes and report data. */
export function packByteArray(bytes: Uint8Array): Uint8Array {
  const items = Array.from(bytes, (byte) => (byte < 0x80 ? [byte] : [0xcc, byte])).flat();
  return concat(head(bytes.length, { limit: 16, base: 0x90 }, [undefined, 0xdc, 0xdd]), Uint8Array.from(items));
}

/** A map in the order given; a member without a value is left out. */
export function packMap(members: readonly (readonly [string, Uint8Array | undefined])[]): Uint8Array {
  const present = members.flatMap(([key, value]) => (value === undefined ? [] : [concat(packText(key), value)]));
  return concat(head(present.length, { limit: 16, base: 0x80 }, [undefined, 0xde, 0xdf]), ...present);
}
