/** Writes DER (X.690): definite minimal lengths, one spelling for each value. */
import { concat, utf8 } from "./bytes.ts";
import { TAG } from "./der.ts";

const UTF8_STRING = 0x0c;
const SET = 0x31;
/** Between these RFC 5280 4.1.2.5 wants UTCTime, and GeneralizedTime elsewhere. */
const UTC_YEARS = { first: 1950, end: 2050 } as const;
const MAX_YEAR = 9999;

export function element(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = concat(...contents);
  return concat(Uint8Array.of(tag), derLength(content.length), content);
}

export function sequence(...items: readonly Uint8Array[]): Uint8Array {
  return element(TAG.sequence, ...items);
}

export function set(...items: readonly Uint8Array[]): Uint8Array {
  return element(SET, ...items);
}

/** A constructed context-specific tag around whole elements. */
export function explicit(number: number, ...items: readonly Uint8Array[]): Uint8Array {
  return element(0xa0 | number, ...items);
}

/** A primitive context-specific tag in place of the content's own. */
export function implicit(number: number, content: Uint8Array): Uint8Array {
  return element(0x80 | number, content);
}

/** A non-negative integer of any size. */
export function unsigned(magnitude: Uint8Array): Uint8Array {
  const start = magnitude.findIndex((byte) => byte !== 0);
  const minimal = start === -1 ? Uint8Array.of(0) : magnitude.subarray(start);
  return (minimal[0] ?? 0) >= 0x80 ? element(TAG.integer, Uint8Array.of(0), minimal) : element(TAG.integer, minimal);
}

export function smallInteger(value: number): Uint8Array {
  return unsigned(Uint8Array.of(value));
}

export const TRUE: Uint8Array = element(TAG.boolean, Uint8Array.of(0xff));

export function octetString(content: Uint8Array): Uint8Array {
  return element(TAG.octetString, content);
}

/** Whole bytes. */
export function bitString(content: Uint8Array): Uint8Array {
  return element(TAG.bitString, Uint8Array.of(0), content);
}

export function utf8String(text: string): Uint8Array {
  return element(UTF8_STRING, utf8(text));
}

export function oid(dotted: string): Uint8Array {
  const [root = 0, second = 0, ...arcs] = dotted.split(".").map(Number);
  return element(TAG.oid, Uint8Array.from([root * 40 + second, ...arcs].flatMap(base128)));
}

/** To the second. */
export function time(date: Date): Uint8Array {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, "");
  const year = date.getUTCFullYear();
  if (year < 0 || year > MAX_YEAR) throw new RangeError(`time: no form for the year ${year}`);
  const isUtc = year >= UTC_YEARS.first && year < UTC_YEARS.end;
  return isUtc ? element(TAG.utcTime, utf8(digits.slice(2))) : element(TAG.generalizedTime, utf8(digits));
}

/** Definite minimal length (X.690 10.1). */
function derLength(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Uint8Array.of(0x80 | bytes.length, ...bytes);
}

function base128(arc: number): number[] {
  const bytes = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift(0x80 | (rest % 128));
  return bytes;
}
