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
  #at = 0;

  constructor(bytes: Uint8Array, code: Code) {
    this.#bytes = bytes;
    this.#code = code;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Whether an element with this tag comes next. */
  has(tag: number): boolean {
    return this.#bytes[this.#at] === tag;
  }

  next(field: string): DerElement {
    const start = this.#at;
    const tag = this.#byte(field);
    if ((tag & 0x1f) === 0x1f) throw this.refuse(`${field}: tag of several bytes`);
    const length = this.#length(field);
    if (length > this.#bytes.length - this.#at) {
      throw this.refuse(`${field}: need ${length} bytes, have ${this.#bytes.length - this.#at}`);
    }
    this.#at += length;
    return { tag, content: this.#bytes.subarray(this.#at - length, this.#at), raw: this.#bytes.subarray(start, this.#at) };
  }

  element(tag: number, field: string): DerElement {
    if (!this.has(tag)) throw this.refuse(`${field}: need tag ${tag}, have ${this.#bytes[this.#at] ?? "the end"}`);
    return this.next(field);
  }

  content(tag: number, field: string): Uint8Array {
    return this.element(tag, field).content;
  }

  /** A reader over the content of a constructed element. */
  inside(tag: number, field: string): DerReader {
    return new DerReader(this.content(tag, field), this.#code);
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
    const content = this.content(TAG.oid, field);
    const arcs: number[] = [];
    let arc = 0;
    for (const [index, byte] of content.entries()) {
      if (arc === 0 && byte === 0x80) throw this.refuse(`${field}: object identifier is not minimal`);
      arc = arc * 128 + (byte & 0x7f);
      if (!Number.isSafeInteger(arc)) throw this.refuse(`${field}: object identifier is too large`);
      if (byte < 0x80) {
        arcs.push(arc);
        arc = 0;
      } else if (index === content.length - 1) throw this.refuse(`${field}: object identifier without end`);
    }
    const [first] = arcs;
    if (first === undefined) throw this.refuse(`${field}: object identifier is empty`);
    const root = Math.min(Math.floor(first / 40), 2);
    return [root, first - root * 40, ...arcs.slice(1)].join(".");
  }

  /** The bytes of a BIT STRING that has no unused bits. */
  wholeBits(field: string): Uint8Array {
    const content = this.content(TAG.bitString, field);
    if (content[0] !== 0) throw this.refuse(`${field}: need a bit string of whole bytes`);
    return content.subarray(1);
  }

  /** UTCTime or GeneralizedTime of RFC 5280 4.1.2.5, in seconds since 1970. */
  time(field: string): number {
    const element = this.next(field);
    const text = String.fromCharCode(...element.content.subarray(0, 16));
    const match = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text);
    const digits = element.tag === TAG.utcTime ? 2 : element.tag === TAG.generalizedTime ? 4 : 0;
    if (match === null || match[1]?.length !== digits) throw this.refuse(`${field}: not a time in seconds and UTC`);
    const [year, ...rest] = match.slice(1).map(Number);
    const [month = 0, day = 0, hour = 0, minute = 0, second = 0] = rest;
    const fullYear = digits === 4 ? (year ?? 0) : (year ?? 0) + ((year ?? 0) < 50 ? 2000 : 1900);
    const date = new Date(0);
    date.setUTCFullYear(fullYear, month - 1, day);
    date.setUTCHours(hour, minute, second);
    const spelled = date.toISOString().replace(/[-:T]|\.000/g, "");
    if (!spelled.endsWith(text) || spelled.length !== 15) throw this.refuse(`${field}: no such time`);
    return date.getTime() / 1000;
  }

  end(what: string): void {
    if (!this.done) throw this.refuse(`${what}: ${this.#bytes.length - this.#at} bytes too many`);
  }

  refuse(detail: string): KmsError {
    return new KmsError(this.#code, detail);
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
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw this.refuse(`${field}: input ends`);
    this.#at += 1;
    return byte;
  }
}

/** Bytes as a map key. */
export function keyOf(bytes: Uint8Array): string {
  return toHex(bytes);
}
