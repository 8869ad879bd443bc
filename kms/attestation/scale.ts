/** SCALE, strict: one spelling for each value, every count bounded, no byte left over. */
import { ByteReader, concat, fromUtf8, utf8 } from "../bytes.ts";
import { type Code, KmsError } from "../errors.ts";

/** Lengths from here on need the big-integer mode, which no value of ours reaches. */
const COMPACT_LIMIT = 2 ** 30;

export class ScaleReader {
  readonly #reader: ByteReader;
  readonly #code: Code;

  constructor(bytes: Uint8Array, code: Code) {
    this.#reader = new ByteReader(bytes, code);
    this.#code = code;
  }

  u8(field: string): number {
    return this.#reader.u8(field);
  }

  u32(field: string): number {
    return this.#reader.u32(field);
  }

  u64(field: string): bigint {
    return this.#reader.u64(field);
  }

  fixed(length: number, field: string): Uint8Array {
    return this.#reader.take(length, field);
  }

  bool(field: string): boolean {
    const byte = this.u8(field);
    if (byte > 1) throw new KmsError(this.#code, `${field}: need 0 or 1, have ${byte}`);
    return byte === 1;
  }

  option<T>(field: string, read: () => T): T | undefined {
    return this.bool(field) ? read() : undefined;
  }

  compact(field: string): number {
    const first = this.u8(field);
    switch (first & 3) {
      case 0:
        return first >> 2;
      case 1:
        return this.#minimal((first + this.u8(field) * 2 ** 8) >>> 2, 2 ** 6, field);
      case 2: {
        const middle = this.u8(field) * 2 ** 8;
        return this.#minimal((first + middle + this.#reader.u16(field) * 2 ** 16) >>> 2, 2 ** 14, field);
      }
      default:
        throw new KmsError(this.#code, `${field}: need a length under ${COMPACT_LIMIT}`);
    }
  }

  bytes(field: string): Uint8Array {
    return this.fixed(this.compact(field), field);
  }

  text(field: string): string {
    return fromUtf8(this.bytes(field), field, this.#code);
  }

  vec<T>(field: string, limit: number, read: (field: string) => T): T[] {
    const count = this.compact(field);
    if (count > limit) throw new KmsError(this.#code, `${field}: need at most ${limit} entries, have ${count}`);
    const items: T[] = [];
    for (let index = 0; index < count; index++) items.push(read(`${field}[${index}]`));
    return items;
  }

  /** Everything that is left. */
  rest(): Uint8Array {
    return this.#reader.rest();
  }

  end(what: string): void {
    this.#reader.end(what);
  }

  #minimal(value: number, least: number, field: string): number {
    if (value < least) throw new KmsError(this.#code, `${field}: length ${value} is not in its shortest form`);
    return value;
  }
}

export function scaleU8(value: number): Uint8Array {
  return Uint8Array.of(value);
}

export function scaleU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function scaleCompact(value: number): Uint8Array {
  if (value < 2 ** 6) return Uint8Array.of(value << 2);
  if (value < 2 ** 14) return scaleU32(value * 4 + 1).subarray(0, 2);
  if (value < COMPACT_LIMIT) return scaleU32(value * 4 + 2);
  throw new KmsError("fault.internal", `length ${value} has no compact form here`);
}

export function scaleBytes(bytes: Uint8Array): Uint8Array {
  return concat(scaleCompact(bytes.length), bytes);
}

export function scaleText(text: string): Uint8Array {
  return scaleBytes(utf8(text));
}

export function scaleVec<T>(items: readonly T[], write: (item: T) => Uint8Array): Uint8Array {
  return concat(scaleCompact(items.length), ...items.map(write));
}
