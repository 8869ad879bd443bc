/** The shortest list of splices that a simple matcher finds between two byte strings. */
import type { PartName, Splice } from "./format.ts";

/** Bytes that have to agree before a stretch of the old text is taken over. */
const BLOCK = 12;

interface Match {
  readonly oldStart: number;
  readonly newStart: number;
  readonly length: number;
}

export function splicesBetween(part: PartName, before: Uint8Array, after: Uint8Array): Splice[] {
  const splices: Splice[] = [];
  let oldAt = 0;
  let newAt = 0;
  for (const { oldStart, newStart, length } of [...matches(before, after), end(before, after)]) {
    if (oldStart > oldAt || newStart > newAt) {
      const insert = Buffer.from(after.subarray(newAt, newStart)).toString("base64");
      splices.push({ part, at: oldAt, remove: oldStart - oldAt, insert });
    }
    oldAt = oldStart + length;
    newAt = newStart + length;
  }
  return splices;
}

function end(before: Uint8Array, after: Uint8Array): Match {
  return { oldStart: before.length, newStart: after.length, length: 0 };
}

/** Stretches that both have, in the order of both: those in place first, then the next one that a block of bytes finds. */
function matches(before: Uint8Array, after: Uint8Array): Match[] {
  const blocks = blocksOf(before);
  const found: Match[] = [];
  let oldAt = 0;
  let newAt = 0;
  while (newAt < after.length) {
    const oldStart = placeOf(before, oldAt, after, newAt, blocks);
    if (oldStart === undefined) {
      newAt += 1;
      continue;
    }
    const length = commonLength(before, oldStart, after, newAt);
    found.push({ oldStart, newStart: newAt, length });
    oldAt = oldStart + length;
    newAt += length;
  }
  return found;
}

function placeOf(
  before: Uint8Array,
  oldAt: number,
  after: Uint8Array,
  newAt: number,
  blocks: ReadonlyMap<string, readonly number[]>,
): number | undefined {
  const whole = commonLength(before, newAt, after, newAt);
  if (newAt >= oldAt && before.length === after.length && whole >= Math.min(4, after.length - newAt) && whole > 0) return newAt;
  if (newAt === 0 && oldAt === 0 && whole > 0) return 0;
  const block = Buffer.from(after.subarray(newAt, newAt + BLOCK)).toString("latin1");
  return block.length < BLOCK ? tailOf(before, oldAt, after, newAt) : blocks.get(block)?.find((start) => start >= oldAt);
}

/** A last piece that is shorter than a block can only be the end of both. */
function tailOf(before: Uint8Array, oldAt: number, after: Uint8Array, newAt: number): number | undefined {
  const start = before.length - (after.length - newAt);
  return start >= oldAt && commonLength(before, start, after, newAt) === after.length - newAt ? start : undefined;
}

function blocksOf(bytes: Uint8Array): ReadonlyMap<string, readonly number[]> {
  const blocks = new Map<string, number[]>();
  const latin1 = Buffer.from(bytes).toString("latin1");
  for (let at = 0; at + BLOCK <= latin1.length; at += 1) {
    const block = latin1.slice(at, at + BLOCK);
    const known = blocks.get(block);
    if (known === undefined) blocks.set(block, [at]);
    else if (known.length < 64) known.push(at);
  }
  return blocks;
}

function commonLength(before: Uint8Array, oldStart: number, after: Uint8Array, newStart: number): number {
  let length = 0;
  while (oldStart + length < before.length && before[oldStart + length] === after[newStart + length]) length += 1;
  return Math.min(length, after.length - newStart);
}
