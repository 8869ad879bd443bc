/** The TD HOB: the memory list that the VMM hands to the firmware, rebuilt from the firmware's ranges and the memory size. */
import { concat } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";

export const PAGE_BYTES = 4096n;
/** Today's firmware has four. */
const MAX_RANGES = 64;
const MAX_LEB128_BYTES = 10;
const U64_LIMIT = 2n ** 64n;
/** No processor has longer physical addresses. */
const MEMORY_LIMIT = 2n ** 52n;
/** From this much memory on, the part above 2 GiB moves over the 4 GiB line. */
export const SPLIT_MEMORY_BYTES = 0xb0000000n;
const LOW_MEMORY_END = 0x80000000n;
const HIGH_MEMORY_START = 0x100000000n;

const ACCEPTED = 0;
const UNACCEPTED = 7;

interface Range {
  readonly start: bigint;
  readonly end: bigint;
}

/** The ranges of the firmware that the guest finds accepted, and where the HOB list itself goes. */
export interface HobWitness {
  readonly hobAddress: bigint;
  readonly accepted: readonly Range[];
}

/** Page counts as unsigned LEB128: base, HOB page − base, range count, then start − base and length of each range. */
export function parseHobWitness(bytes: Uint8Array): HobWitness {
  const reader = new PageReader(bytes);
  const base = reader.pages("base");
  const hobAddress = base + reader.pages("hob");
  const count = reader.number("count");
  if (count > MAX_RANGES) throw refuse(`count: need at most ${MAX_RANGES}, have ${count}`);
  const accepted: Range[] = [];
  for (let index = 0n; index < count; index++) {
    const start = base + reader.pages("start");
    accepted.push({ start, end: start + reader.pages("length") });
  }
  reader.end();
  if ([hobAddress, ...accepted.map(({ end }) => end)].some((address) => address >= U64_LIMIT))
    throw refuse("address over 64 bits");
  return { hobAddress, accepted };
}

/** The one form of a witness: from the lowest page on, ranges by place, none empty, none over another. */
export function encodeHobWitness({ hobAddress, accepted }: HobWitness): Uint8Array {
  if (accepted.length > MAX_RANGES) throw refuse(`count: need at most ${MAX_RANGES}, have ${accepted.length}`);
  const ranges = accepted.toSorted(byPlace);
  for (const [index, { start, end }] of ranges.entries()) {
    if (start >= end) throw refuse(`an empty range at 0x${start.toString(16)}`);
    const before = ranges[index - 1];
    if (before !== undefined && start < before.end) throw refuse(`ranges overlap at 0x${start.toString(16)}`);
  }
  const first = ranges[0]?.start ?? hobAddress;
  const base = first < hobAddress ? first : hobAddress;
  const numbers = [pageOf(base), pageOf(hobAddress - base), BigInt(ranges.length)];
  for (const { start, end } of ranges) numbers.push(pageOf(start - base), pageOf(end - start));
  return Uint8Array.from(numbers.flatMap(leb128));
}

/** Ranges that begin at one place keep their order. */
function byPlace(a: Range, b: Range): number {
  return Number(a.start - b.start);
}

function pageOf(bytes: bigint): bigint {
  if (bytes % PAGE_BYTES !== 0n) throw refuse(`0x${bytes.toString(16)} is no whole page`);
  return bytes / PAGE_BYTES;
}

function leb128(value: bigint): number[] {
  const low = Number(value & 0x7fn);
  return value < 0x80n ? [low] : [low | 0x80, ...leb128(value >> 7n)];
}

class PageReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  number(field: string): bigint {
    let value = 0n;
    for (let index = 0; index < MAX_LEB128_BYTES; index++) {
      const byte = this.#bytes[this.#offset++];
      if (byte === undefined) throw refuse(`${field}: ends early`);
      value |= BigInt(byte & 0x7f) << BigInt(7 * index);
      if (byte >= 0x80) continue;
      if (byte === 0 && index > 0) throw refuse(`${field}: not in its shortest form`);
      return value;
    }
    throw refuse(`${field}: need at most ${MAX_LEB128_BYTES} bytes`);
  }

  pages(field: string): bigint {
    return this.number(field) * PAGE_BYTES;
  }

  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left !== 0) throw refuse(`${left} bytes too many`);
  }
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.vm-config", `tdvf.td_hob: ${message}`);
}

/** The bytes of the HOB list as the firmware measures them. */
export function buildTdHob(witness: HobWitness, memorySize: bigint): Uint8Array {
  if (memorySize > MEMORY_LIMIT)
    throw new KmsError("malformed.vm-config", `memory_size: need at most ${MEMORY_LIMIT}, have ${memorySize}`);
  const ranges = memoryRanges(witness.accepted, memorySize);
  const resources = ranges.slice(0, -1).map(({ start, end, type }) => resourceHob(type, start, end - start));
  const last = ranges.at(-1);
  if (last !== undefined) resources.push(...lastRange(last, memorySize));
  const length = 56n + 48n * BigInt(resources.length);
  return concat(handoffHob(witness.hobAddress + length + 8n), ...resources);
}

interface TypedRange extends Range {
  readonly type: number;
}

/** Cuts each accepted range out of what is unaccepted. Accepted ranges are never merged and never cut again. */
function memoryRanges(accepted: readonly Range[], memorySize: bigint): TypedRange[] {
  let ranges: TypedRange[] = [{ start: 0n, end: memorySize, type: UNACCEPTED }];
  for (const cut of accepted) {
    if (cut.start >= cut.end) continue;
    ranges = ranges.flatMap((range) => (range.type === UNACCEPTED ? without(range, cut) : [range]));
    ranges.push({ ...cut, type: ACCEPTED });
    ranges.sort(byPlace);
  }
  return ranges;
}

function without(range: TypedRange, cut: Range): TypedRange[] {
  if (cut.end <= range.start || cut.start >= range.end) return [range];
  const before = { ...range, end: cut.start };
  const after = { ...range, start: cut.end };
  return [before, after].filter(({ start, end }) => start < end);
}

/** The last range counts as unaccepted whatever it was, and skips the hole below 4 GiB when memory reaches there. */
function lastRange({ start, end }: Range, memorySize: bigint): Uint8Array[] {
  if (memorySize < SPLIT_MEMORY_BYTES) return [resourceHob(UNACCEPTED, start, end - start)];
  const low = start < LOW_MEMORY_END ? [resourceHob(UNACCEPTED, start, LOW_MEMORY_END - start)] : [];
  const high = end > LOW_MEMORY_END ? [resourceHob(UNACCEPTED, HIGH_MEMORY_START, end - LOW_MEMORY_END)] : [];
  return [...low, ...high];
}

/** EFI_HOB_HANDOFF_INFO_TABLE, 56 bytes. */
function handoffHob(endOfList: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(56));
  view.setUint16(0, 1, true);
  view.setUint16(2, 56, true);
  view.setUint32(8, 9, true);
  view.setBigUint64(48, endOfList, true);
  return new Uint8Array(view.buffer);
}

/** EFI_HOB_RESOURCE_DESCRIPTOR, 48 bytes, owner GUID zero. */
function resourceHob(type: number, start: bigint, length: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(48));
  view.setUint16(0, 3, true);
  view.setUint16(2, 48, true);
  view.setUint8(24, type);
  view.setUint32(28, 7, true);
  view.setBigUint64(32, start, true);
  view.setBigUint64(40, length, true);
  return new Uint8Array(view.buffer);
}
