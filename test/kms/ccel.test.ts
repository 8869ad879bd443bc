/** The firmware's boot log: the real sample's registers, one fault for each rule, and any bytes a log or a refusal. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeCcel, MAX_CCEL_BYTES } from "../../kms/attestation/ccel.ts";
import { evidenceFromQuote, isAcpiEvent, stripEvidence, type TdxEvent } from "../../kms/attestation/evidence.ts";
import { MAX_EVENTS } from "../../kms/attestation/evidence-limits.ts";
import { checkBootRegisters, checkFirmwareLog, replayRegister } from "../../kms/attestation/register-replay.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import type { TdReport10 } from "../../kms/attestation/tdx/report.ts";
import { concat, fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { quoteReport, realBytes, realJson } from "../support/real-evidence.ts";
import { readQuote } from "../support/tdx-samples.ts";
import { codeOf } from "./support/refusals.ts";

const real = realBytes("ccel.bin");
const u16 = (value: number) => Uint8Array.of(value & 0xff, value >> 8);
const u32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
const sha384 = (fill: number) => concat(u16(0x0c), new Uint8Array(48).fill(fill));
const end = u32(0xffffffff);

interface HeaderFaults {
  readonly type?: number;
  readonly signature?: string;
  readonly algorithms?: readonly Uint8Array[];
  readonly count?: number;
  readonly vendor?: Uint8Array;
  readonly more?: Uint8Array;
}

function header(faults: HeaderFaults = {}): Uint8Array {
  const algorithms = faults.algorithms ?? [concat(u16(0x0c), u16(48))];
  const body = concat(
    utf8(faults.signature ?? "Spec ID Event03\0"),
    new Uint8Array(8),
    u32(faults.count ?? algorithms.length),
    ...algorithms,
    faults.vendor ?? Uint8Array.of(0),
    faults.more ?? new Uint8Array(0),
  );
  return concat(u32(1), u32(faults.type ?? 3), new Uint8Array(20), u32(body.length), body);
}

function event(index: number, digests: readonly Uint8Array[], data = "", type = 1): Uint8Array {
  return concat(u32(index), u32(type), u32(digests.length), ...digests, u32(utf8(data).length), utf8(data));
}

describe("the real log", () => {
  const log = decodeCcel(real);

  test("has 18 events, the ACPI blobs by name", () => {
    expect(log).toHaveLength(18);
    const named = log.filter(({ event: name }) => name !== "");
    expect(named.map(({ event: name }) => name)).toEqual(["acpi-loader", "acpi-rsdp", "acpi-tables"]);
    expect(named.every(isAcpiEvent)).toBe(true);
    expect(log[0]).toMatchObject({ imr: 0, eventType: 0x8000000b, version: 1 });
  });

  test("replays to the published registers", () => {
    expect([0, 1, 2, 3].map((register) => toHex(replayRegister(log, register)))).toEqual([
      "274c2344116db7c663470693b5ba62b8621eac28cb41d2f816ddf188f9f423f900a1c44d32386fd3c993dc814e62af9d",
      "bdcf4ee0f7fdfe7c73fbb19ded73193aee23a6726b86d3b282ea097cf4c9ed7a0db21b5c1ccd513e410d90e310836b26",
      "00".repeat(48),
      "00".repeat(48),
    ]);
  });

  test("is of the firmware of a real quote, but of another kernel: the register is named", () => {
    const { body } = parseQuote(readQuote("tdx-v4-b0c06f-b.hex"));
    expect(() => checkFirmwareLog(body as TdReport10, log)).toThrow(
      expect.objectContaining({
        code: "unproven.event-log",
        message: expect.stringMatching(/^RTMR1 mismatch, quoted: 918fbd97/),
      }),
    );
    const rtmr1 = replayRegister(log, 1);
    const same = { ...body, rtmr1 } as TdReport10;
    expect(checkFirmwareLog(same, log)).toEqual({ rtmr0: "replayed", rtmr1: "replayed", rtmr2: "replayed" });
    expect(() => checkFirmwareLog({ ...same, rtmr2: rtmr1 }, log)).toThrow(/^RTMR2 mismatch/);
  });
});

describe("the log inside evidence", () => {
  const captures: readonly [string, ReturnType<typeof quoteReport>["evidence"]][] = [
    ["dstack-quote-report.json", quoteReport().evidence],
    ["dstack-tdx-lite-getquote.json", captured("dstack-tdx-lite-getquote.json")],
    ["mpc-2026-08", mpc()],
  ];

  function captured(name: string) {
    const capture = realJson(name);
    return evidenceFromQuote(fromHex(capture["quote"] ?? "", "quote"), capture["event_log"] ?? "");
  }
  function mpc() {
    const info: Record<string, unknown> = realJson("mpc-2026-08-tcb_info.json");
    return evidenceFromQuote(readQuote("mpc-2026-08-quote.json"), JSON.stringify(info["event_log"]));
  }
  const partsOf = (evidence: (typeof captures)[number][1]) => {
    if (evidence.platform.kind !== "tdx") throw new Error("not a TDX capture");
    return { report: parseQuote(evidence.platform.quote).body as TdReport10, log: evidence.platform.eventLog };
  };

  test.each(captures)("of %s accounts for all three registers", (_name, evidence) => {
    const { report, log } = partsOf(evidence);
    expect(checkBootRegisters(report, log)).toEqual({ rtmr0: "replayed", rtmr1: "replayed", rtmr2: "replayed" });
  });

  test.each(captures)("of %s accounts for none in the form for certificates", (_name, evidence) => {
    const { report, log } = partsOf(stripEvidence(evidence));
    expect(checkBootRegisters(report, log)).toEqual({ rtmr0: "not-in-log", rtmr1: "not-in-log", rtmr2: "not-in-log" });
  });

  test.each([0, 1, 2])("is refused for one changed event of register %i", (register) => {
    const { report, log } = partsOf(quoteReport().evidence);
    const at = log.findLastIndex(({ imr }) => imr === register);
    const changed = log.map((entry, index) => (index === at ? { ...entry, digest: new Uint8Array(48) } : entry));
    expect(() => checkBootRegisters(report, changed)).toThrow(
      expect.objectContaining({ code: "unproven.event-log", message: expect.stringMatching(`^RTMR${register} mismatch`) }),
    );
    const short = log.map((entry, index) => (index === at ? { ...entry, digest: new Uint8Array(32) } : entry));
    expect(codeOf(() => checkBootRegisters(report, short))).toBe("malformed.event-log");
    const without = log.filter((_entry, index) => index !== at);
    expect(codeOf(() => checkBootRegisters(report, without))).toBe("unproven.event-log");
  });
});

describe("a log of ours", () => {
  test("skips what belongs to no register and stops at the end mark", () => {
    const log = decodeCcel(
      concat(header(), event(0, [sha384(1), sha384(2)]), event(2, [sha384(3)], "x"), end, utf8("what was there before")),
    );
    expect(log).toEqual<TdxEvent[]>([
      { imr: 1, eventType: 1, digest: new Uint8Array(48).fill(3), event: "", eventPayload: utf8("x"), version: 1 },
    ]);
  });

  test.each([
    [0x04, 20],
    [0x0b, 32],
    [0x0c, 48],
    [0x0d, 64],
  ])("knows the length of digests of algorithm %i: %i bytes", (id, length) => {
    const algorithms = [concat(u16(id), u16(length)), concat(u16(0x0c), u16(48))];
    const digest = concat(u16(id), new Uint8Array(length));
    const log = decodeCcel(concat(header({ algorithms }), event(0, [digest]), event(4, [sha384(3)]), end));
    expect(log.map(({ imr }) => imr)).toEqual([3]);
    const wrong = [concat(u16(id), u16(length + 1))];
    expect(codeOf(() => decodeCcel(concat(header({ algorithms: wrong }), end)))).toBe("malformed.event-log");
  });

  test("may have vendor information, no algorithm that is announced, and as many bytes as the limit", () => {
    const log = concat(header({ vendor: Uint8Array.of(2, 7, 7), algorithms: [] }), event(1, [sha384(1)]), end);
    const full = concat(log, new Uint8Array(MAX_CCEL_BYTES - log.length));
    expect([decodeCcel(full).length, codeOf(() => decodeCcel(concat(full, Uint8Array.of(0))))]).toEqual([
      1,
      "malformed.event-log",
    ]);
  });

  test("names three ACPI events of RTMR0 and no others", () => {
    const acpi = (index: number) => event(index, [sha384(4)], "ACPI DATA", 10);
    const log = decodeCcel(
      concat(header(), acpi(2), acpi(1), acpi(1), event(1, [sha384(5)], "ACPI DATA"), acpi(1), acpi(1), end),
    );
    expect(log.map(({ event: name }) => name)).toEqual(["", "acpi-loader", "acpi-rsdp", "", "acpi-tables", ""]);
  });

  const one = event(1, [sha384(1)]);
  test.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array(0)],
    ["no end mark", concat(header(), one)],
    ["half an event", concat(header(), one.subarray(0, 40), end)],
    ["a header of another type", concat(header({ type: 4 }), end)],
    ["a header of another specification", concat(header({ signature: "Spec ID Event02\0" }), end)],
    ["an algorithm that nobody knows", concat(header({ algorithms: [concat(u16(0x12), u16(32))] }), end)],
    ["an algorithm with another length", concat(header({ algorithms: [concat(u16(0x0c), u16(32))] }), end)],
    ["more algorithms than there are", concat(header({ count: 2 }), end)],
    ["too many algorithms", concat(header({ count: 65_537 }), end)],
    ["vendor information cut short", concat(header({ vendor: Uint8Array.of(5) }), end)],
    ["bytes after the header", concat(header({ more: Uint8Array.of(0) }), end)],
    ["no digest", concat(header(), event(1, []), end)],
    ["two digests", concat(header(), event(1, [sha384(1), sha384(2)]), end)],
    ["a digest of another length", concat(header(), event(1, [concat(u16(0x0b), new Uint8Array(32))]), end)],
    ["a digest that nobody knows", concat(header(), event(0, [concat(u16(0x12), new Uint8Array(32))]), end)],
    ["a fifth register", concat(header(), event(5, [sha384(1)]), end)],
    ["a count that points outside", concat(header(), u32(1), u32(1), u32(65_536), sha384(1))],
    ["a count over the limit", concat(header(), u32(1), u32(1), u32(65_537), sha384(1))],
    ["a size over the limit", concat(header(), u32(1), u32(1), u32(1), sha384(1), u32(65_537), new Uint8Array(65_537), end)],
    ["a size that points outside", concat(header(), u32(1), u32(1), u32(1), sha384(1), u32(100), end)],
    ["too many events", concat(header(), ...Array<Uint8Array>(MAX_EVENTS + 1).fill(one), end)],
    ["too many events of no register", concat(header(), ...Array<Uint8Array>(MAX_EVENTS + 1).fill(event(0, [])), end)],
    ["too many bytes", new Uint8Array(MAX_CCEL_BYTES + 1)],
  ])("is refused with %s", (_name, bytes) => {
    expect(codeOf(() => decodeCcel(bytes))).toBe("malformed.event-log");
  });

  test("may have as many events as any log, and the largest data", () => {
    expect(decodeCcel(concat(header(), ...Array<Uint8Array>(MAX_EVENTS).fill(one), end))).toHaveLength(MAX_EVENTS);
    const large = concat(header(), u32(1), u32(1), u32(1), sha384(1), u32(65_536), new Uint8Array(65_536), end);
    expect(decodeCcel(large)[0]?.eventPayload).toHaveLength(65_536);
  });

  test("reads back what was written, and any bytes are a log or a refusal", () => {
    const digest = fc.uint8Array({ minLength: 48, maxLength: 48 });
    const entry = fc.record({ imr: fc.nat(3), digest, data: fc.string({ unit: "grapheme" }), type: fc.nat(0xffff) });
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        const bytes = entries.map(({ imr, digest: own, data, type }) =>
          event(imr + 1, [concat(u16(0x0c), own)], data, type === 10 ? 11 : type),
        );
        const log = decodeCcel(concat(header(), ...bytes, end));
        expect(log.map((read) => [read.imr, read.digest, read.eventPayload])).toEqual(
          entries.map(({ imr, digest: own, data }) => [imr, own, utf8(data)]),
        );
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(2000), (noise, at) => {
        const damaged = real.slice();
        damaged.set(noise, at);
        expect(["accepted", "malformed.event-log"]).toContain(codeOf(() => decodeCcel(noise)));
        expect(["accepted", "malformed.event-log"]).toContain(codeOf(() => decodeCcel(damaged)));
        expect(["accepted", "malformed.event-log"]).toContain(codeOf(() => decodeCcel(concat(header(), noise))));
      }),
    );
  });
});
