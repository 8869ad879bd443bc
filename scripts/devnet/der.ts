/** Writes the DER that the simulated certificate authority needs (X.690), and nothing more. */

export type Der = Uint8Array;

function join(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

export function tlv(tag: number, ...content: readonly Uint8Array[]): Der {
  const body = join(content);
  const length: number[] = [];
  if (body.length < 0x80) length.push(body.length);
  else {
    for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256);
    length.unshift(0x80 | length.length);
  }
  return join([Uint8Array.of(tag, ...length), body]);
}

export const sequence = (...content: readonly Der[]): Der => tlv(0x30, ...content);
export const set = (...content: readonly Der[]): Der => tlv(0x31, ...content);
export const octetString = (...content: readonly Uint8Array[]): Der => tlv(0x04, ...content);
export const bitString = (content: Uint8Array, unusedBits = 0): Der => tlv(0x03, Uint8Array.of(unusedBits), content);
export const boolean = (value: boolean): Der => tlv(0x01, Uint8Array.of(value ? 0xff : 0));
export const enumerated = (value: number): Der => tlv(0x0a, Uint8Array.of(value));
export const utf8String = (text: string): Der => tlv(0x0c, new TextEncoder().encode(text));
export const explicit = (number: number, ...content: readonly Der[]): Der => tlv(0xa0 + number, ...content);
export const implicit = (number: number, ...content: readonly Uint8Array[]): Der => tlv(0x80 + number, ...content);

/** A non-negative INTEGER from its big-endian bytes, in the shortest form. */
export function unsigned(bytes: Uint8Array): Der {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const minimal = bytes.subarray(start);
  return (minimal[0] ?? 0) >= 0x80 ? tlv(0x02, Uint8Array.of(0), minimal) : tlv(0x02, minimal);
}

export function integer(value: number): Der {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return unsigned(bytes);
}

export function oid(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return tlv(0x06, ...[first * 40 + second, ...rest].map(base128));
}

function base128(value: number): Uint8Array {
  const septets = [value % 128];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) septets.unshift((rest % 128) | 0x80);
  return Uint8Array.from(septets);
}

/** RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050. */
export function time(date: Date): Der {
  const digits = `${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, "")}Z`;
  const text = new TextEncoder().encode(date.getUTCFullYear() < 2050 ? digits.slice(2) : digits);
  return tlv(date.getUTCFullYear() < 2050 ? 0x17 : 0x18, text);
}

export function pem(label: string, der: Der): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
