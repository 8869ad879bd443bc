/** The two blobs that QEMU hands to the firmware beside the ACPI tables, rebuilt from the tables: the root pointer, and the script that places and links them. */
import { concat, utf8 } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { type AcpiDigests, sha384 } from "./registers.ts";

/** Real blobs have 128 KiB. */
export const MAX_ACPI_BYTES = 4 * 1024 * 1024;
const LOADER_BYTES = 4096;
const COMMAND_BYTES = 128;
const NAME_BYTES = 56;
const TABLE_HEADER_BYTES = 36;
const CHECKSUM_OFFSET = 9;
/** The last field that the loader links: X_DSDT. */
const FACP_BYTES = 148;
/** QEMU's order. SRAT is there for a machine with huge pages only. */
const KNOWN = ["FACS", "DSDT", "FACP", "APIC", "SRAT", "MCFG", "WAET", "RSDT"] as const;
/** What RSDT points to; FACP points to the first two. */
const LISTED = ["FACP", "APIC", "SRAT", "MCFG", "WAET"] as const;

type Name = (typeof KNOWN)[number];

interface Table {
  readonly offset: number;
  readonly length: number;
}

class Tables {
  readonly #found = new Map<Name, Table>();

  add(signature: string, table: Table): void {
    const name = KNOWN.find((known) => known === signature);
    // the loader links every table, so one more would mean other commands than these
    if (name === undefined) throw refuse(`an unknown table at ${table.offset}`);
    if (this.#found.has(name)) throw refuse(`${name} stands there twice`);
    this.#found.set(name, table);
  }

  has(name: Name): boolean {
    return this.#found.has(name);
  }

  need(name: Name, least = TABLE_HEADER_BYTES): Table {
    const table = this.#found.get(name);
    if (table === undefined) throw refuse(`no ${name}`);
    if (table.length < least) throw refuse(`${name}: need ${least} bytes, have ${table.length}`);
    return table;
  }
}

export function acpiDigestsOf(blob: Uint8Array): AcpiDigests {
  const tables = readTables(blob);
  return { loader: sha384(loaderBlob(tables)), rsdp: sha384(rsdpBlob(tables.need("RSDT").offset)), tables: sha384(blob) };
}

/** Table after table; zeros fill the blob to its end. */
function readTables(blob: Uint8Array): Tables {
  if (blob.length > MAX_ACPI_BYTES) throw refuse(`need at most ${MAX_ACPI_BYTES} bytes, have ${blob.length}`);
  const view = new DataView(blob.buffer, blob.byteOffset, blob.length);
  const tables = new Tables();
  let offset = 0;
  while (offset + 8 <= blob.length && view.getUint32(offset) !== 0) {
    const length = view.getUint32(offset + 4, true);
    if (length < TABLE_HEADER_BYTES || length > blob.length - offset) {
      throw refuse(`a table of ${length} bytes at ${offset} of ${blob.length}`);
    }
    tables.add(String.fromCharCode(...blob.subarray(offset, offset + 4)), { offset, length });
    offset += length;
  }
  return tables;
}

/** ACPI 1.0, Root System Description Pointer; the script fills in the checksum. */
function rsdpBlob(rsdt: number): Uint8Array {
  return concat(utf8("RSD PTR \0BOCHS \0"), u32(rsdt));
}

const RSDP_FILE = utf8("etc/acpi/rsdp".padEnd(NAME_BYTES, "\0"));
const TABLES_FILE = utf8("etc/acpi/tables".padEnd(NAME_BYTES, "\0"));
const HIGH_ZONE = 1;
const F_SEGMENT = 2;

/** Commands in QEMU's order; zeros fill the last page. */
function loaderBlob(tables: Tables): Uint8Array {
  const listed = LISTED.filter((name) => name !== "SRAT" || tables.has(name));
  const facp = tables.need("FACP", FACP_BYTES).offset;
  const rsdt = tables.need("RSDT", TABLE_HEADER_BYTES + 4 * listed.length).offset;
  const pointer = (offset: number, size: number) => command(2, TABLES_FILE, TABLES_FILE, u32(offset), Uint8Array.of(size));
  const checksum = (name: Name) => {
    const { offset, length } = tables.need(name);
    return checksumAt(TABLES_FILE, offset + CHECKSUM_OFFSET, offset, length);
  };
  const commands = concat(
    allocate(RSDP_FILE, 16, F_SEGMENT),
    allocate(TABLES_FILE, 64, HIGH_ZONE),
    checksum("DSDT"),
    pointer(facp + 36, 4), // FIRMWARE_CTRL
    pointer(facp + 40, 4), // DSDT
    pointer(facp + 140, 8), // X_DSDT
    ...listed.map(checksum),
    ...listed.map((_, entry) => pointer(rsdt + TABLE_HEADER_BYTES + 4 * entry, 4)),
    checksum("RSDT"),
    command(2, RSDP_FILE, TABLES_FILE, u32(16), Uint8Array.of(4)),
    checksumAt(RSDP_FILE, 8, 0, 20),
  );
  return concat(commands, new Uint8Array(LOADER_BYTES - commands.length));
}

function allocate(file: Uint8Array, alignment: number, zone: number): Uint8Array {
  return command(1, file, u32(alignment), Uint8Array.of(zone));
}

function checksumAt(file: Uint8Array, result: number, start: number, length: number): Uint8Array {
  return command(3, file, u32(result), u32(start), u32(length));
}

function command(kind: number, ...fields: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(COMMAND_BYTES);
  bytes.set(concat(u32(kind), ...fields));
  return bytes;
}

function u32(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, true);
  return new Uint8Array(view.buffer);
}

function refuse(message: string): KmsError {
  return new KmsError("unavailable.acpi-tables", `ACPI tables: ${message}`);
}
