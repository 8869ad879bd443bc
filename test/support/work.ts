/** How much work a call is, told by a yardstick of the same run: a loaded machine slows both alike, where a clock alone would fail. */
import { createHash } from "node:crypto";

const ROUNDS = 3;

/** CPU time of the call in units of the yardstick's, the least of some rounds of each. */
export function workOf(call: () => unknown, yardstick: () => unknown): number {
  let [work, unit] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < ROUNDS; round += 1) {
    unit = Math.min(unit, cpuTime(yardstick));
    work = Math.min(work, cpuTime(call));
  }
  return work / unit;
}

/** The least that anyone does who reads the bytes at all. */
export function hashing(bytes: Uint8Array): () => unknown {
  return () => createHash("sha256").update(bytes).digest();
}

/** In microseconds, never nothing. */
function cpuTime(call: () => unknown): number {
  const before = process.cpuUsage();
  call();
  const { user, system } = process.cpuUsage(before);
  return Math.max(1, user + system);
}
