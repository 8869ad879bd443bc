/** The boot event log of RTMR0 to 2 as the firmware leaves it in the CCEL table: TCG's crypto-agile form with Intel's register index. */
import { ByteReader, toHex } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import type { TdxEvent } from "./evidence.ts";
import { MAX_EVENTS } from "./evidence-limits.ts";

/** Firmware reserves 64 KiB. */
export const MAX_CCEL_BYTES = 1024 * 1024;
const MAX_COUNT = 65_536;
const END_OF_LOG = 0xffffffff;
const NO_ACTION = 3;
const SHA1_BYTES = 20;
const SPEC_ID = "Spec ID Event03\0";
const SHA384 = 0x0c;
/** Digest lengths by TCG algorithm id; no other is known to any reader of these logs. */
const digestBytes: ReadonlyMap<number, number> = new Map([
  [0x04, SHA1_BYTES],
  [0x0b, 32],
  [SHA384, 48],
  [0x0d, 64],
]);
const REGISTERS = 4;

const ACPI_EVENT_TYPE = 10;
const ACPI_PAYLOAD = toHex(new TextEncoder().encode("ACPI DATA"));
/** What QEMU hands to the firmware, in the order in which the firmware measures it. */
const acpiNames = ["acpi-loader", "acpi-rsdp", "acpi-tables"] as const;

/** The events in their order, labelled as a guest labels them. What follows the end mark is the free rest of the table. */
export function decodeCcel(bytes: Uint8Array): TdxEvent[] {
  if (bytes.length > MAX_CCEL_BYTES) throw refuse(`need at most ${MAX_CCEL_BYTES} bytes, have ${bytes.length}`);
  const reader = new ByteReader(bytes, "malformed.event-log");
  readHeader(reader);
  const events: TdxEvent[] = [];
  for (let read = 0; ; read++) {
    const index = reader.u32(`ccel event ${read}.index`);
    if (index === END_OF_LOG) return labelled(events);
    if (read === MAX_EVENTS) throw refuse(`need at most ${MAX_EVENTS} events`);
    const event = readEvent(reader, index, `ccel event ${read}`);
    if (event !== undefined) events.push(event);
  }
}

/** The first record has TCG's old form and names the specification; its register index says nothing. */
function readHeader(reader: ByteReader): void {
  reader.u32("ccel header.index");
  const type = reader.u32("ccel header.type");
  if (type !== NO_ACTION) throw refuse(`header.type: need ${NO_ACTION}, have ${type}`);
  reader.take(SHA1_BYTES, "ccel header.digest");
  const body = new ByteReader(takeSized(reader, "ccel header.event"), "malformed.event-log");
  const signature = body.take(SPEC_ID.length, "ccel header.signature");
  if (Buffer.from(signature).toString("latin1") !== SPEC_ID) throw refuse("header.signature: need Spec ID Event03");
  body.take(8, "ccel header.platformAndVersion");
  const algorithms = bounded(body.u32("ccel header.algorithms"), "header.algorithms");
  for (let n = 0; n < algorithms; n++) {
    const id = body.u16(`ccel header.algorithm ${n}`);
    const length = body.u16(`ccel header.algorithm ${n} length`);
    if (lengthOf(id) !== length) throw refuse(`header: algorithm ${id} has ${lengthOf(id)} bytes, the log says ${length}`);
  }
  body.take(body.u8("ccel header.vendorLength"), "ccel header.vendor");
  body.end("ccel header");
}

/** Events with index 0 belong to no register and are passed over, as guests do. */
function readEvent(reader: ByteReader, index: number, field: string): TdxEvent | undefined {
  const eventType = reader.u32(`${field}.type`);
  const count = bounded(reader.u32(`${field}.digests`), `${field}.digests`);
  const digests = new Map<number, Uint8Array>();
  for (let n = 0; n < count; n++) {
    const algorithm = reader.u16(`${field}.algorithm`);
    const digest = reader.take(lengthOf(algorithm), `${field}.digest`);
    if (index !== 0 && digests.size > 0) throw refuse(`${field}: need one digest, have ${count}`);
    digests.set(algorithm, digest);
  }
  const eventPayload = takeSized(reader, `${field}.data`);
  if (index === 0) return undefined;
  if (index > REGISTERS) throw refuse(`${field}.index: need at most ${REGISTERS}, have ${index}`);
  const digest = digests.get(SHA384);
  if (digest === undefined) throw refuse(`${field}: need one SHA-384 digest`);
  return { imr: index - 1, eventType, digest, event: "", eventPayload, version: 1 };
}

/** The names by which the lite image check finds the digests of the ACPI blobs. */
function labelled(events: readonly TdxEvent[]): TdxEvent[] {
  let found = 0;
  return events.map((event) => {
    const isAcpi = event.imr === 0 && event.eventType === ACPI_EVENT_TYPE && toHex(event.eventPayload) === ACPI_PAYLOAD;
    const name = isAcpi ? acpiNames[found++] : undefined;
    return name === undefined ? event : { ...event, event: name };
  });
}

function lengthOf(algorithm: number): number {
  const length = digestBytes.get(algorithm);
  if (length === undefined) throw refuse(`no digest algorithm ${algorithm}`);
  return length;
}

function takeSized(reader: ByteReader, field: string): Uint8Array {
  return reader.take(bounded(reader.u32(`${field} size`), field), field);
}

function bounded(count: number, field: string): number {
  if (count > MAX_COUNT) throw refuse(`${field}: need at most ${MAX_COUNT}, have ${count}`);
  return count;
}

function refuse(detail: string): KmsError {
  return new KmsError("malformed.event-log", detail.startsWith("ccel") ? detail : `ccel ${detail}`);
}
