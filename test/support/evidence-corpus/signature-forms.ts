/** What can be wrong with 64 bytes of signature, wherever they stand. */
import { p256 } from "@noble/curves/nist.js";
import { altered, type Draft, onPart } from "./draft.ts";
import type { Check, PartName } from "./format.ts";
import { flip } from "./world.ts";

const order = p256.Point.Fn.ORDER;
const number = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
const bytesOf = (value: bigint) => new Uint8Array(Buffer.from(value.toString(16).padStart(64, "0"), "hex"));

/** r‖s at `at` of the part. */
export function rawForms(check: Check, base: string, what: string, part: PartName, code: string, at = 0): Draft[] {
  const on = (change: (r: Uint8Array, s: Uint8Array) => readonly Uint8Array[]) =>
    onPart(part, (bytes) => {
      const [r, s] = [bytes.slice(at, at + 32), bytes.slice(at + 32, at + 64)];
      return new Uint8Array(Buffer.concat([bytes.subarray(0, at), ...change(r, s), bytes.subarray(at + 64)]));
    });
  return [
    ...altered(check, base, [
      [`${what} with its first bit turned is refused`, code, on((r, s) => [flip(r, 0, 7), s])],
      [`${what} with the last bit of r turned is refused`, code, on((r, s) => [flip(r, 31), s])],
      [`${what} with the first bit of s turned is refused`, code, on((r, s) => [r, flip(s, 0, 7)])],
      [`${what} with its last bit turned is refused`, code, on((r, s) => [r, flip(s, 31)])],
      [`${what} with r and s exchanged is refused`, code, on((r, s) => [s, r])],
      [`${what} with r zero is refused`, code, on((_, s) => [new Uint8Array(32), s])],
      [`${what} with s zero is refused`, code, on((r) => [r, new Uint8Array(32)])],
      [`${what} of zeros is refused`, code, on(() => [new Uint8Array(64)])],
      [`${what} with r and s of the group order is refused`, code, on(() => [bytesOf(order), bytesOf(order)])],
      [`${what} of ones is refused`, code, on(() => [new Uint8Array(64).fill(0xff)])],
      [`${what} in the other of its two forms is accepted`, undefined, on((r, s) => [r, bytesOf(order - number(s))])],
    ]),
  ];
}
