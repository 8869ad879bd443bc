/** The worked decode of the sample envelope: every part and the events that it names, byte for byte where they stand. */
import { describe, expect, test } from "vitest";
import { encodeEvidence, isAcpiEvent, stripEvidence } from "../../kms/attestation/evidence.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { toHex } from "../../kms/bytes.ts";
import { sample, sampleBytes, sampleParts, sampleRuntimeEvents, sampleTdxEvents } from "./support/sample-envelope.ts";

const slice = (offset: number, length: number) => sampleBytes.subarray(offset, offset + length);

test("its parts stand one behind the other and are the whole file", () => {
  for (const { offset, encoded, name } of sampleParts) expect(toHex(slice(offset, encoded.length)), name).toBe(toHex(encoded));
  expect(sampleParts.reduce((sum, { encoded }) => sum + encoded.length, 0)).toBe(sampleBytes.length);
});

test.each([
  [0, "00", "envelope V0"],
  [1, "00", "platform TDX"],
  [2, "494e", "a quote of 5010 bytes, as compact length"],
  [4, "0400020081000000", "quote version 4, ECDSA P-256, TDX"],
  [572, "00".repeat(64), "the quoted report data"],
  [5014, "84", "33 events"],
  [5015, "000000000b000080c0cd2312", "event 0: register 0, type 0x8000000b, a digest of 48 bytes"],
  [6047, "000000000a000000c06dae", "an ACPI event"],
  [7578, "0300000001000008c0ddd202", "the app id's event"],
  [8450, "24", "9 runtime events"],
  [8451, "4073797374656d2d707265706172696e6700", "system-preparing, with no payload"],
  [8469, "186170702d6964505bb4ff9a", "app-id and 20 bytes"],
  [8885, "00".repeat(64), "the envelope's report data"],
  [8949, "a508", "a configuration of 553 bytes"],
  [8951, "7b226b6d735f75726c73", "its text"],
])("offset %i holds %s: %s", (offset, hex) => {
  expect(toHex(slice(offset, hex.length / 2))).toBe(hex);
});

describe("its events", () => {
  const eventAt = (offset: number) => sampleTdxEvents.find((event) => event.offset === offset)?.event;
  const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();

  test("begin with one of register 0 without a name, which ends at 5116", () => {
    const first = eventAt(5015);
    expect(first).toMatchObject({ imr: 0, eventType: 0x8000000b, event: "", version: 1 });
    expect([first?.digest.length, first?.eventPayload.length]).toEqual([48, 42]);
    expect(toHex(first?.eventPayload ?? sampleBytes)).toMatch(/^095464/);
    expect(eventAt(5116)).toBeDefined();
  });

  test("have an ACPI table whose old image left the name empty", () => {
    const table = eventAt(6047);
    expect(table).toMatchObject({ imr: 0, eventType: 10, event: "" });
    expect(text(table?.eventPayload)).toBe("ACPI DATA");
    expect(sampleTdxEvents.filter(({ event }) => isAcpiEvent(event))).toHaveLength(3);
  });

  test("have the app id twice: with its digest in the log, and in the runtime list without", () => {
    const logged = eventAt(7578);
    expect(logged).toMatchObject({ imr: 3, eventType: 0x08000001, event: "app-id" });
    expect(toHex(logged?.digest ?? sampleBytes)).toMatch(/^ddd202/);
    const listed = sampleRuntimeEvents.find(({ offset }) => offset === 8469)?.event;
    expect(listed).toEqual({ event: "app-id", payload: logged?.eventPayload, version: 1 });
    expect(toHex(listed?.payload ?? sampleBytes)).toBe("5bb4ff9a3837357f19dc176407a5709c62eb6c56");
  });

  test("are 24 of the boot and 9 of the runtime", () => {
    const registers = sampleTdxEvents.map(({ event }) => event.imr);
    expect(registers.filter((imr) => imr < 3)).toHaveLength(24);
    expect(registers.filter((imr) => imr === 3)).toHaveLength(9);
    expect(sampleRuntimeEvents.map(({ event }) => event.event)).toEqual([
      "system-preparing",
      "app-id",
      "compose-hash",
      "instance-id",
      "boot-mr-done",
      "os-image-hash",
      "key-provider",
      "storage-fs",
      "system-ready",
    ]);
  });
});

test("its quote is a TD's of version 4 and its configuration a whole system configuration", () => {
  if (sample.platform.kind !== "tdx") throw new Error("not TDX");
  expect(parseQuote(sample.platform.quote)).toMatchObject({ version: 4, body: { kind: "td10" } });
  expect(JSON.parse(sample.stack.config)).toMatchObject({ vm_config: expect.any(String) });
});

test("stripped it keeps the tables and the runtime events: their payloads, and digests only where they cannot be made again", () => {
  const stripped = stripEvidence(sample);
  if (stripped.platform.kind !== "tdx") throw new Error("not TDX");
  const { eventLog } = stripped.platform;
  expect(eventLog.map(({ imr, digest, eventPayload }) => [imr, digest.length, eventPayload.length > 0])).toEqual([
    ...Array(3).fill([0, 48, true]),
    ...sampleRuntimeEvents.map(({ event }) => [3, 0, event.payload.length > 0]),
  ]);
  expect([encodeEvidence(stripped).length, encodeEvidence({ ...stripped, wire: "v1" }).length]).toEqual([6788, 7887]);
});
