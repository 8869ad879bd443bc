/** A small strict DER reader (X.690): one spelling per value, definite minimal lengths, no bytes left over. */
import { toHex } from "./bytes.ts";
import { type Code, KmsError } from "./errors.ts";

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  enumerated: 0x0a,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  /** Tag, length and content as they stand in the input. */
  readonly raw: Uint8Array;
}

export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #code: Code;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, code: Code, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#code = code;
    this.#at = start;
    this.#end = end;
  }

  get done(): boolean {
    return this.#at === this.#end;
  }

  /** Whether an element with this tag comes next. */
  has(tag: number): boolean {
    return !this.done && this.#bytes[this.#at] === tag;
  }

  next(field: string): DerElement {
    const start = this.#at;
    const tag = this.#tag(field);
    const from = this.#pass(field);
    return { tag, content: this.#bytes.subarray(from, this.#at), raw: this.#bytes.subarray(start, this.#at) };
  }

  /** Tag, length and content of the element with this tag. */
  raw(tag: number, field: string): Uint8Array {
    const start = this.#at;
    this.#enter(tag, field);
    return this.#bytes.subarray(start, this.#at);
  }

  /** Tag, length and content of whatever comes next. */
  any(field: string): Uint8Array {
    const start = this.#at;
    this.#tag(field);
    this.#pass(field);
    return this.#bytes.subarray(start, this.#at);
  }

  /** Whatever is left. */
  rest(): Uint8Array {
    const start = this.#at;
    this.#at = this.#end;
    return this.#bytes.subarray(start, this.#end);
  }

  content(tag: number, field: string): Uint8Array {
    const from = this.#enter(tag, field);
    return this.#bytes.subarray(from, this.#at);
  }

  /** A reader over the content of a constructed element. */
  inside(tag: number, field: string): DerReader {
    const from = this.#enter(tag, field);
    return new DerReader(this.#bytes, this.#code, from, this.#at);
  }

  /** A reader over an octet string that wraps DER, as extensions do. */
  over(bytes: Uint8Array): DerReader {
    return new DerReader(bytes, this.#code);
  }

  boolean(field: string, tag: number = TAG.boolean): boolean {
    const content = this.content(tag, field);
    if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) throw this.refuse(`${field}: not a DER boolean`);
    return content[0] === 0xff;
  }

  /** Magnitude of a non-negative INTEGER, without the sign byte: one spelling per number, so bytes can be compared. */
  unsigned(field: string, maxBytes: number): Uint8Array {
    const content = this.content(TAG.integer, field);
    const [first, second] = content;
    if (first === undefined || first >= 0x80) throw this.refuse(`${field}: not a non-negative integer`);
    if (first === 0 && second !== undefined && second < 0x80) throw this.refuse(`${field}: integer is not minimal`);
    const magnitude = first === 0 && content.length > 1 ? content.subarray(1) : content;
    if (magnitude.length > maxBytes) throw this.refuse(`${field}: at most ${maxBytes} bytes, have ${magnitude.length}`);
    return magnitude;
  }

  /** A non-negative INTEGER of at most four bytes. */
  smallInteger(field: string): number {
    return this.unsigned(field, 4).reduce((value, byte) => value * 256 + byte, 0);
  }

  /** Dotted form of an OBJECT IDENTIFIER. */
  oid(field: string): string {
    let text = "";
    let arc = 0;
    let isWhole = true;
    for (let at = this.#enter(TAG.oid, field); at < this.#at; at += 1) {
      const byte = this.#bytes[at] ?? 0;
      if (isWhole && byte === 0x80) throw this.refuse(`${field}: object identifier is not minimal`);
      arc = arc * 128 + (byte & 0x7f);
      if (!Number.isSafeInteger(arc)) throw this.refuse(`${field}: object identifier is too large`);
      isWhole = byte < 0x80;
      if (!isWhole) continue;
      text += text === "" ? firstArcs(arc) : `.${arc}`;
      arc = 0;
    }
    if (!isWhole) throw this.refuse(`${field}: object identifier without end`);
    if (text === "") throw this.refuse(`${field}: object identifier is empty`);
    return text;
  }

  /** The bytes of a BIT STRING that has no unused bits. */
  wholeBits(field: string): Uint8Array {
    const content = this.content(TAG.bitString, field);
    if (content[0] !== 0) throw this.refuse(`${field}: need a bit string of whole bytes`);
    return content.subarray(1);
  }

  /** UTCTime or GeneralizedTime of RFC 5280 4.1.2.5, in seconds since 1970. */
  time(field: string): number {
    const isUtc = this.has(TAG.utcTime);
    const from = this.#enter(isUtc ? TAG.utcTime : TAG.generalizedTime, field);
    const yearDigits = isUtc ? 2 : 4;
    const isSpelled = this.#at - from === yearDigits + 11 && this.#bytes[this.#at - 1] === 0x5a;
    if (!isSpelled) throw this.refuse(`${field}: not a time in seconds and UTC`);
    const year = this.#digits(from, yearDigits, field) + (isUtc ? 1900 : 0);
    const at = from + yearDigits;
    const seconds = this.#upTo(23, at + 4, field) * 3600 + this.#upTo(59, at + 6, field) * 60 + this.#upTo(59, at + 8, field);
    // RFC 5280 4.1.2.5.1: two digits below 50 are of this century
    const day = dayOf(isUtc && year < 1950 ? year + 100 : year, this.#digits(at, 2, field), this.#digits(at + 2, 2, field));
    if (day === undefined) throw this.refuse(`${field}: no such time`);
    return day + seconds;
  }

  end(what: string): void {
    if (!this.done) throw this.refuse(`${what}: ${this.#end - this.#at} bytes too many`);
  }

  refuse(detail: string): KmsError {
    return new KmsError(this.#code, detail);
  }

  #need(tag: number, field: string): void {
    if (!this.has(tag)) throw this.refuse(`${field}: need tag ${tag}, have ${this.done ? "the end" : this.#bytes[this.#at]}`);
  }

  /** Steps over the element with this tag; its content begins at the answer and ends at the new position. */
  #enter(tag: number, field: string): number {
    this.#need(tag, field);
    this.#at += 1;
    return this.#pass(field);
  }

  #tag(field: string): number {
    const tag = this.#byte(field);
    if ((tag & 0x1f) === 0x1f) throw this.refuse(`${field}: tag of several bytes`);
    return tag;
  }

  /** Steps over length and content. */
  #pass(field: string): number {
    const length = this.#length(field);
    const from = this.#at;
    if (length > this.#end - from) throw this.refuse(`${field}: need ${length} bytes, have ${this.#end - from}`);
    this.#at += length;
    return from;
  }

  /** Two digits that stand for at most `most`. */
  #upTo(most: number, from: number, field: string): number {
    const value = this.#digits(from, 2, field);
    if (value > most) throw this.refuse(`${field}: no such time`);
    return value;
  }

  #digits(from: number, count: number, field: string): number {
    let value = 0;
    for (let at = from; at < from + count; at += 1) {
      const digit = (this.#bytes[at] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) throw this.refuse(`${field}: not a time in seconds and UTC`);
      value = value * 10 + digit;
    }
    return value;
  }

  #length(field: string): number {
    const first = this.#byte(field);
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw this.refuse(`${field}: length of ${count} bytes`);
    let length = 0;
    for (let index = 0; index < count; index += 1) length = length * 256 + this.#byte(field);
    const minimal = count === 1 ? 0x80 : 256 ** (count - 1);
    if (length < minimal) throw this.refuse(`${field}: length is not minimal`);
    return length;
  }

  #byte(field: string): number {
    if (this.done) throw this.refuse(`${field}: input ends`);
    const byte = this.#bytes[this.#at] ?? 0;
    this.#at += 1;
    return byte;
  }
}

/** X.690 8.19.4: the first two arcs share a number. */
function firstArcs(value: number): string {
  const root = Math.min(Math.floor(value / 40), 2);
  return `${root}.${value - root * 40}`;
}

/** One for all: a list has a time for each entry. */
const calendar = new Date(0);

/** Seconds since 1970 of the beginning of a day that exists; `Date` rolls those that do not over into the next month. */
function dayOf(year: number, month: number, day: number): number | undefined {
  calendar.setTime(0);
  calendar.setUTCFullYear(year, month - 1, day);
  if (calendar.getUTCMonth() !== month - 1 || calendar.getUTCDate() !== day) return undefined;
  return calendar.getTime() / 1000;
}

/** Bytes as a map key. */
export function keyOf(bytes: Uint8Array): string {
  return toHex(bytes);
}
