/** The Authenticode digest of a PE file with SHA-384, as the firmware measures what it starts: header fields that signing changes are left out. */
import { createHash } from "node:crypto";
import { KmsError } from "../../errors.ts";

/** Real kernels are 10 to 100 MiB. */
export const MAX_KERNEL_BYTES = 512 * 1024 * 1024;
const MZ = 0x5a4d;
const PE_SIGNATURE = 0x00004550;
const FILE_HEADER_BYTES = 24;
const PE32 = 0x10b;
const PE32_PLUS = 0x20b;
const CHECKSUM_OFFSET = 64;
const SIZE_OF_HEADERS_OFFSET = 60;
const SECURITY_ENTRY = 4;
const DIRECTORY_BYTES = 8;
const SECTION_HEADER_BYTES = 40;
/** The digest covers the padding that a signature would begin behind. */
const ALIGNMENT = 8;

interface Part {
  readonly start: number;
  readonly end: number;
}

/** With a head, its bytes stand in place of the file's first ones: a copy of the whole would cost as much as half its hash. */
export function authenticodeSha384(file: Uint8Array, head: Uint8Array = new Uint8Array(0)): Uint8Array {
  if (file.length > MAX_KERNEL_BYTES) throw refuse(`need at most ${MAX_KERNEL_BYTES} bytes, have ${file.length}`);
  const hash = createHash("sha384");
  for (const { start, end } of hashedParts(new PeView(file, head))) {
    hash.update(head.subarray(start, end));
    hash.update(file.subarray(Math.max(start, head.length), end));
  }
  hash.update(new Uint8Array((ALIGNMENT - (file.length % ALIGNMENT)) % ALIGNMENT));
  return new Uint8Array(hash.digest());
}

function hashedParts(pe: PeView): Part[] {
  const header = readHeader(pe);
  const sections = readSections(pe, header);
  const parts = [...headerParts(header), ...sections.map(({ start, end }) => ({ start, end: Math.min(end, pe.size) }))];
  // a table of certificates stands last, behind data that no section has
  const hashed = sections.reduce((sum, { start, end }) => sum + end - start, header.sizeOfHeaders);
  if (header.certificateBytes > 0) parts.push({ start: hashed, end: Math.max(hashed, pe.size - header.certificateBytes) });
  return parts;
}

interface PeHeader {
  readonly peOffset: number;
  readonly optionalOffset: number;
  readonly sizeOfHeaders: number;
  readonly securityOffset: number | undefined;
  readonly certificateBytes: number;
}

function readHeader(pe: PeView): PeHeader {
  if (pe.u16(0) !== MZ) throw refuse("not a PE file: no MZ");
  const peOffset = pe.u32(0x3c);
  if (pe.u32(peOffset) !== PE_SIGNATURE) throw refuse("not a PE file: no PE signature");
  const optionalOffset = peOffset + FILE_HEADER_BYTES;
  const magic = pe.u16(optionalOffset);
  if (magic !== PE32 && magic !== PE32_PLUS)
    throw refuse(`optional header magic: need 0x10b or 0x20b, have 0x${magic.toString(16)}`);
  const directories = optionalOffset + (magic === PE32_PLUS ? 112 : 96);
  const hasSecurity = pe.u32(directories - 4) > SECURITY_ENTRY;
  const securityOffset = hasSecurity ? directories + SECURITY_ENTRY * DIRECTORY_BYTES : undefined;
  const sizeOfHeaders = pe.u32(optionalOffset + SIZE_OF_HEADERS_OFFSET);
  const needed = securityOffset === undefined ? optionalOffset + CHECKSUM_OFFSET + 4 : securityOffset + DIRECTORY_BYTES;
  if (sizeOfHeaders < needed || sizeOfHeaders > pe.size) {
    throw refuse(`headers of ${sizeOfHeaders} bytes: need ${needed} to ${pe.size}`);
  }
  return {
    peOffset,
    optionalOffset,
    sizeOfHeaders,
    securityOffset,
    certificateBytes: securityOffset === undefined ? 0 : pe.u32(securityOffset + 4),
  };
}

/** All headers but the checksum and the entry that names the certificates. */
function headerParts({ optionalOffset, securityOffset, sizeOfHeaders }: PeHeader): Part[] {
  const checksum = optionalOffset + CHECKSUM_OFFSET;
  const rest = { start: checksum + 4, end: sizeOfHeaders };
  const before = { start: 0, end: checksum };
  if (securityOffset === undefined) return [before, rest];
  return [before, { ...rest, end: securityOffset }, { ...rest, start: securityOffset + DIRECTORY_BYTES }];
}

/** What sections have in the file, by place. Overlapping ones would be hashed many times over, and no linker makes them. */
function readSections(pe: PeView, { peOffset, optionalOffset, sizeOfHeaders }: PeHeader): Part[] {
  const count = pe.u16(peOffset + 6);
  const table = optionalOffset + pe.u16(peOffset + 20);
  const sections: Part[] = [];
  for (let index = 0; index < count; index++) {
    const header = table + index * SECTION_HEADER_BYTES;
    const size = pe.u32(header + 16);
    const start = pe.u32(header + 20);
    if (size > 0) sections.push({ start, end: start + size });
  }
  sections.sort((a, b) => a.start - b.start);
  for (const [index, { start }] of sections.entries()) {
    const free = sections[index - 1]?.end ?? sizeOfHeaders;
    if (start < free) throw refuse(`a section begins at ${start}, where ${free} bytes are taken`);
    if (start > pe.size) throw refuse(`a section begins at ${start} of ${pe.size} bytes`);
  }
  return sections;
}

class PeView {
  readonly size: number;
  readonly #file: DataView;
  readonly #head: DataView;

  constructor(file: Uint8Array, head: Uint8Array) {
    this.size = file.length;
    this.#file = new DataView(file.buffer, file.byteOffset, file.length);
    this.#head = new DataView(head.buffer, head.byteOffset, head.length);
  }

  u16(offset: number): number {
    return this.#at(offset, 2).getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#at(offset, 4).getUint32(offset, true);
  }

  /** A field over the end of the head is the file's: what a loader changes lies well before it. */
  #at(offset: number, length: number): DataView {
    if (offset + length > this.size) throw refuse(`a header field at ${offset}: the file has ${this.size} bytes`);
    return offset + length <= this.#head.byteLength ? this.#head : this.#file;
  }
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.kernel", `kernel: ${message}`);
}
