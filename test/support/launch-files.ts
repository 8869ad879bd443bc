/** Made-up firmware, kernels and ACPI tables, byte by byte in their real formats, with every field open to change. */
import { concat, fromHex, utf8 } from "../../kms/bytes.ts";

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff);
}

export function u32(value: number): Uint8Array {
  return concat(u16(value & 0xffff), u16(value >>> 16));
}

export function u64(value: bigint): Uint8Array {
  return concat(u32(Number(value & 0xffffffffn)), u32(Number(value >> 32n)));
}

/** Bytes that look random and are the same in every run. */
export function noise(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

export interface SectionFields {
  readonly dataOffset: number;
  readonly rawSize: number;
  readonly address: bigint;
  readonly memorySize: bigint;
  readonly type: number;
  readonly attributes: number;
}

/** As today's firmware has them, with a volume of eight pages in place of two mebibytes. */
export const usualSections: readonly SectionFields[] = [
  { dataOffset: 0x2000, rawSize: 0x8000, address: 0xffff6000n, memorySize: 0x8000n, type: 0, attributes: 1 },
  { dataOffset: 0, rawSize: 0x2000, address: 0xffff4000n, memorySize: 0x2000n, type: 1, attributes: 0 },
  { dataOffset: 0, rawSize: 0, address: 0x810000n, memorySize: 0x10000n, type: 3, attributes: 0 },
  { dataOffset: 0, rawSize: 0, address: 0x80b000n, memorySize: 0x2000n, type: 3, attributes: 0 },
  { dataOffset: 0, rawSize: 0, address: 0x809000n, memorySize: 0x2000n, type: 2, attributes: 0 },
  { dataOffset: 0, rawSize: 0, address: 0x800000n, memorySize: 0x6000n, type: 3, attributes: 0 },
];

export interface FirmwareShape {
  readonly sections?: readonly SectionFields[];
  readonly size?: number;
  readonly version?: number;
  readonly signature?: string;
  /** What the descriptor says of its own length. */
  readonly length?: number;
  readonly count?: number;
  /** Entries of the GUID table, in the order of the file. */
  readonly entries?: readonly Uint8Array[];
  readonly tableLength?: number;
  readonly footerGuid?: string;
}

export const metadataGuid = "35657ae44a989847865e4685a7bf8ec2";
const footerGuid = "de82b596b21ff745baeaa366c55a082d";

/** An entry of the GUID table: its data, its whole length, its name. */
export function guidEntry(data: Uint8Array, guid: string, length = data.length + 18): Uint8Array {
  return concat(data, u16(length), fromHex(guid, "guid"));
}

/** The descriptor ends 0x100 bytes before the end of the file; the GUID table ends 32 bytes before it. */
export function firmwareOf(shape: FirmwareShape = {}): Uint8Array {
  const sections = shape.sections ?? usualSections;
  const file = noise(shape.size ?? 0xa000);
  const descriptor = concat(
    utf8(shape.signature ?? "TDVF"),
    u32(shape.length ?? 16 + 32 * sections.length),
    u32(shape.version ?? 1),
    u32(shape.count ?? sections.length),
    ...sections.map((section) =>
      concat(
        u32(section.dataOffset),
        u32(section.rawSize),
        u64(section.address),
        u64(section.memorySize),
        u32(section.type),
        u32(section.attributes),
      ),
    ),
  );
  const distance = 0x100 + descriptor.length;
  const other = guidEntry(noise(4), "00112233445566778899aabbccddeeff");
  const entries = concat(...(shape.entries ?? [other, guidEntry(u32(distance), metadataGuid), other]));
  const table = concat(entries, u16(shape.tableLength ?? entries.length + 18), fromHex(shape.footerGuid ?? footerGuid, "guid"));
  file.set(descriptor, file.length - distance);
  file.set(table, file.length - 32 - table.length);
  return file;
}

export interface KernelShape {
  readonly protocol?: number;
  readonly loadFlags?: number;
  readonly xloadFlags?: number;
  readonly initrdMax?: number;
  readonly size?: number;
  readonly plus?: boolean;
  readonly certificates?: number;
  /** Sections as [pointer, size]. */
  readonly sections?: readonly (readonly [number, number])[];
  readonly sizeOfHeaders?: number;
  readonly directories?: number;
}

const PE_OFFSET = 0x40;

/** A Linux kernel with an EFI stub: a boot header at 0x1f1, a PE header at 0x40. */
export function kernelOf(shape: KernelShape = {}): Uint8Array {
  const size = shape.size ?? 0x3000;
  const plus = shape.plus ?? true;
  const file = noise(size, 7);
  const put = (offset: number, ...bytes: readonly Uint8Array[]) => file.set(concat(...bytes), offset);
  put(0, utf8("MZ"));
  put(0x3c, u32(PE_OFFSET));
  const sections = shape.sections ?? [
    [0x1000, 0x1000],
    [0x2000, size - 0x2000],
  ];
  const directories = shape.directories ?? 6;
  const optional = PE_OFFSET + 24;
  const optionalBytes = (plus ? 112 : 96) + 8 * directories;
  put(
    PE_OFFSET,
    utf8("PE\0\0"),
    u16(plus ? 0x8664 : 0x14c),
    u16(sections.length),
    new Uint8Array(12),
    u16(optionalBytes),
    u16(0x206),
  );
  put(optional, u16(plus ? 0x20b : 0x10b), new Uint8Array(optionalBytes - 2));
  put(optional + 32, u32(0x1000), u32(0x200));
  put(optional + 60, u32(shape.sizeOfHeaders ?? 0x1000));
  put(optional + (plus ? 108 : 92), u32(directories));
  const certificates = shape.certificates ?? 0;
  if (certificates > 0) put(optional + (plus ? 112 : 96) + 32, u32(size - certificates), u32(certificates));
  for (const [index, [pointer, length]] of sections.entries()) {
    const header = concat(utf8(`.s${index}`.padEnd(8, "\0")), u32(length), u32(pointer), u32(length), u32(pointer));
    if (optional + optionalBytes + 40 * index + 40 <= 0x1f0)
      put(optional + optionalBytes + 40 * index, header, new Uint8Array(16));
  }
  put(0x1f1, Uint8Array.of(4), new Uint8Array(16), utf8("HdrS"), u16(shape.protocol ?? 0x20f));
  put(0x210, Uint8Array.of(0, shape.loadFlags ?? 1));
  put(0x22c, u32(shape.initrdMax ?? 0x7fffffff));
  put(0x236, u16(shape.xloadFlags ?? 0x7f));
  return file;
}

/** An ACPI table with an empty content. */
export function acpiTable(signature: string, length: number): Uint8Array {
  return concat(utf8(signature), u32(length), noise(length - 8, length));
}

export type TableLengths = readonly (readonly [string, number])[];

/** A blob as QEMU makes it: table after table, and zeros. */
export function acpiBlob(tables: TableLengths, size = 128 * 1024): Uint8Array {
  const blob = new Uint8Array(size);
  blob.set(concat(...tables.map(([signature, length]) => acpiTable(signature, length))));
  return blob;
}

/** The machine of 16 processors and a GPU that `dstack-quote-report.json` was captured on: the lengths that its loader blob tells. */
export const quoteReportTables: TableLengths = [
  ["FACS", 64],
  ["DSDT", 9098],
  ["FACP", 244],
  ["APIC", 240],
  ["MCFG", 60],
  ["WAET", 40],
  ["RSDT", 52],
];
