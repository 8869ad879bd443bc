/** Bytes and their text forms: exact lengths, one spelling, and a reader that cannot run past its input. */
import { type Code, KmsError } from "./errors.ts";

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Equality of public bytes; for secrets use `timingSafeEqual` of node:crypto. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  // a loop, and below too: calls for each byte cost more than the rest of a verification's own work
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index += 1) if (a[index] !== b[index]) return false;
  return true;
}

export function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** One for all: making a decoder costs more than decoding a name, and a stranger's certificate may hold thousands of names. */
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Strict UTF-8: malformed text is refused, never replaced. */
export function fromUtf8(bytes: Uint8Array, what: string, code: Code): string {
  try {
    return strictUtf8.decode(bytes);
  } catch (cause) {
    throw new KmsError(code, `${what}: not UTF-8, ${bytes.length} bytes`, { cause });
  }
}

/** Lower-case hex without prefix. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}

/** Hex without prefix, either case, of exactly `length` bytes when given. */
export function fromHex(text: string, what: string, length?: number, code: Code = "malformed.hex"): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new KmsError(code, `${what}: need hex, have ${text.length} characters that are not`);
  }
  const bytes = new Uint8Array(Buffer.from(text, "hex"));
  if (length !== undefined) needLength(bytes, length, what);
  return bytes;
}

export function needLength(bytes: Uint8Array, length: number, what: string, code: Code = "malformed.length"): Uint8Array {
  if (bytes.length !== length) throw new KmsError(code, `${what}: need ${length} bytes, have ${bytes.length}`);
  return bytes;
}

/** Reads a binary format front to back; every failure names the field and carries the format's code. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #code: Code;
  #offset = 0;

  constructor(bytes: Uint8Array, code: Code) {
    this.#bytes = bytes;
    this.#code = code;
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** A view of the next `length` bytes of the input, not a copy. */
  take(length: number, field: string): Uint8Array {
    if (length > this.remaining) {
      throw new KmsError(this.#code, `${field}: need ${length} bytes, have ${this.remaining}`);
    }
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }

  rest(): Uint8Array {
    return this.take(this.remaining, "rest");
  }

  /** Without a view: a quote may come as millions of single bytes. */
  u8(field: string): number {
    const byte = this.#bytes[this.#offset];
    if (byte === undefined) throw new KmsError(this.#code, `${field}: need 1 bytes, have 0`);
    this.#offset += 1;
    return byte;
  }

  u16(field: string): number {
    return this.#view(2, field).getUint16(0, true);
  }

  u32(field: string): number {
    return this.#view(4, field).getUint32(0, true);
  }

  u64(field: string): bigint {
    return this.#view(8, field).getBigUint64(0, true);
  }

  u16be(field: string): number {
    return this.#view(2, field).getUint16(0, false);
  }

  u32be(field: string): number {
    return this.#view(4, field).getUint32(0, false);
  }

  /** Refuses what is left over. */
  end(what: string): void {
    if (this.remaining !== 0) throw new KmsError(this.#code, `${what}: ${this.remaining} bytes too many`);
  }

  #view(length: number, field: string): DataView {
    const bytes = this.take(length, field);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }
}
