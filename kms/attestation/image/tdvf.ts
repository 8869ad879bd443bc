/** The TDX metadata at the end of a firmware file: which parts of it QEMU loads where, and which of them are measured. */
import { ByteReader, equal, fromHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { type HobWitness, PAGE_BYTES } from "./td-hob.ts";

/** Real firmware is 2 to 16 MiB. */
export const MAX_FIRMWARE_BYTES = 64 * 1024 * 1024;
/** Today's firmware has six. */
const MAX_SECTIONS = 64;
/** Each page costs a hash, so a small file must not claim many: 256 MiB. */
const MAX_ADDED_PAGES = 65536;
/** No processor has longer physical addresses. */
const ADDRESS_LIMIT = 2n ** 52n;

/** GUIDs in their stored form: the first three groups little-endian. */
const FOOTER_GUID = fromHex("de82b596b21ff745baeaa366c55a082d", "guid");
const METADATA_GUID = fromHex("35657ae44a989847865e4685a7bf8ec2", "guid");
const GUID_BYTES = 16;
/** Behind the footer is the reset vector. */
const RESET_VECTOR_BYTES = 32;
/** Length and GUID of an entry, which stand behind its data. */
const ENTRY_END_BYTES = 2 + GUID_BYTES;

const SIGNATURE = 0x46564454; // "TDVF"
const DESCRIPTOR_BYTES = 16;
const SECTION_BYTES = 32;
const TD_HOB = 2;
const TEMPORARY_MEMORY = 3;
const MR_EXTEND = 1;
const PAGE_AUG = 2;
/** Where the HOB goes when no section says so. */
const DEFAULT_HOB_ADDRESS = 0x809000n;

export interface TdvfSection {
  readonly dataOffset: number;
  readonly rawSize: number;
  readonly address: bigint;
  readonly memorySize: bigint;
  readonly type: number;
  /** Its bytes are measured, not only its place. */
  readonly extended: boolean;
  /** Its pages come later, on demand: their place is not measured either. */
  readonly augmented: boolean;
}

export interface Tdvf {
  readonly firmware: Uint8Array;
  readonly sections: readonly TdvfSection[];
}

export function parseTdvf(firmware: Uint8Array): Tdvf {
  if (firmware.length > MAX_FIRMWARE_BYTES) {
    throw refuse(`need at most ${MAX_FIRMWARE_BYTES} bytes, have ${firmware.length}`);
  }
  const sections = readSections(descriptorAt(firmware, metadataDistance(guidTable(firmware))), firmware.length);
  needSeparate(sections);
  needFew(sections);
  return { firmware, sections };
}

/** The ranges that the firmware finds accepted, in the order of its sections. */
export function hobWitnessOf({ sections }: Tdvf): HobWitness {
  const hobs = sections.filter(({ type }) => type === TD_HOB);
  // two loaders may disagree which of them counts
  if (hobs.length > 1) throw refuse(`need one TD HOB section, have ${hobs.length}`);
  return {
    hobAddress: hobs[0]?.address ?? DEFAULT_HOB_ADDRESS,
    accepted: sections
      .filter(({ type, memorySize }) => (type === TD_HOB || type === TEMPORARY_MEMORY) && memorySize > 0n)
      .map(({ address, memorySize }) => ({ start: address, end: address + memorySize })),
  };
}

/** The entries, without the footer that ends the table and gives its length. */
function guidTable(firmware: Uint8Array): Uint8Array {
  const end = firmware.length - RESET_VECTOR_BYTES;
  const footer = end - ENTRY_END_BYTES;
  if (footer < 0) throw refuse(`need a GUID table, have ${firmware.length} bytes`);
  if (!equal(firmware.subarray(footer + 2, end), FOOTER_GUID)) throw refuse("no GUID table before the reset vector");
  const length = u16At(firmware, footer);
  if (length < ENTRY_END_BYTES || length > end) throw refuse(`GUID table of ${length} bytes does not fit`);
  return firmware.subarray(end - length, footer);
}

/** How far before the end of the file the descriptor is; entries are read backwards, each ends in its length and GUID. */
function metadataDistance(table: Uint8Array): number {
  const found: Uint8Array[] = [];
  let end = table.length;
  while (end > 0) {
    const start = end - ENTRY_END_BYTES;
    const length = start < 0 ? 0 : u16At(table, start);
    // zero would go round for ever
    if (length < ENTRY_END_BYTES || length > end) throw refuse(`GUID table entry of ${length} bytes, ${end} are left`);
    if (equal(table.subarray(start + 2, end), METADATA_GUID)) found.push(table.subarray(end - length, start));
    end -= length;
  }
  const [entry, ...others] = found;
  if (entry === undefined || others.length > 0) throw refuse(`need one TDX metadata entry, have ${found.length}`);
  if (entry.length !== 4) throw refuse(`TDX metadata entry: need 4 bytes, have ${entry.length}`);
  return new ByteReader(entry, "malformed.firmware").u32("TDX metadata entry");
}

function descriptorAt(firmware: Uint8Array, distance: number): ByteReader {
  if (distance > firmware.length) throw refuse(`TDX metadata ${distance} bytes before the end of ${firmware.length}`);
  return new ByteReader(firmware.subarray(firmware.length - distance), "malformed.firmware");
}

function readSections(reader: ByteReader, fileSize: number): TdvfSection[] {
  if (reader.u32("TDX metadata signature") !== SIGNATURE) throw refuse("TDX metadata without its signature");
  const length = reader.u32("TDX metadata length");
  const version = reader.u32("TDX metadata version");
  if (version !== 1) throw refuse(`TDX metadata version: need 1, have ${version}`);
  const count = reader.u32("TDX metadata section count");
  if (count > MAX_SECTIONS) throw refuse(`need at most ${MAX_SECTIONS} sections, have ${count}`);
  const expected = DESCRIPTOR_BYTES + count * SECTION_BYTES;
  if (length !== expected) throw refuse(`TDX metadata length: need ${expected} for ${count} sections, have ${length}`);
  return Array.from({ length: count }, (_, index) => readSection(reader, `section ${index}`, fileSize));
}

function readSection(reader: ByteReader, name: string, fileSize: number): TdvfSection {
  const dataOffset = reader.u32(name);
  const rawSize = reader.u32(name);
  const address = reader.u64(name);
  const memorySize = reader.u64(name);
  const type = reader.u32(name);
  const attributes = reader.u32(name);
  if (address % PAGE_BYTES !== 0n || memorySize % PAGE_BYTES !== 0n) throw refuse(`${name}: not whole pages`);
  if (memorySize < BigInt(rawSize)) throw refuse(`${name}: ${rawSize} bytes of file for ${memorySize} of memory`);
  if (address + memorySize > ADDRESS_LIMIT) throw refuse(`${name}: ends over 52 bits of address`);
  if (rawSize > 0 && dataOffset + rawSize > fileSize) throw refuse(`${name}: lies outside the file`);
  if (attributes > (MR_EXTEND | PAGE_AUG)) throw refuse(`${name}: unknown attributes 0x${attributes.toString(16)}`);
  const extended = (attributes & MR_EXTEND) !== 0;
  // what lies behind the section in the file is not what lies behind it in memory
  if (extended && memorySize !== BigInt(rawSize)) {
    throw refuse(`${name}: measured, but the file has ${rawSize} bytes for ${memorySize} of memory`);
  }
  return { dataOffset, rawSize, address, memorySize, type, extended, augmented: (attributes & PAGE_AUG) !== 0 };
}

function needSeparate(sections: readonly TdvfSection[]): void {
  const byAddress = sections.filter(({ memorySize }) => memorySize > 0n).toSorted((a, b) => (a.address < b.address ? -1 : 1));
  for (const [index, { address }] of byAddress.entries()) {
    const before = byAddress[index - 1];
    if (before !== undefined && before.address + before.memorySize > address) {
      throw refuse(`sections overlap at 0x${address.toString(16)}`);
    }
  }
}

function needFew(sections: readonly TdvfSection[]): void {
  // all that is hashed: pages that are added, and pages that come later but are measured
  const hashed = sections.filter(({ augmented, extended }) => extended || !augmented);
  const bytes = hashed.reduce((sum, { memorySize }) => sum + memorySize, 0n);
  const pages = bytes / PAGE_BYTES;
  if (pages > MAX_ADDED_PAGES) throw refuse(`need at most ${MAX_ADDED_PAGES} pages of memory, have ${pages}`);
}

function u16At(bytes: Uint8Array, offset: number): number {
  return new ByteReader(bytes.subarray(offset), "malformed.firmware").u16("length");
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.firmware", `firmware: ${message}`);
}
