/** The envelope: both wire forms against vectors and a second library, the reduced form, and hostile bytes. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { decode, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeEvidence,
  type Evidence,
  encodeEvidence,
  evidenceFromQuote,
  preferredWire,
  stripEvidence,
} from "../../kms/attestation/evidence.ts";
import { MAX_ENVELOPE_BYTES } from "../../kms/attestation/evidence-limits.ts";
import { concat, fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { codeOf } from "./support/refusals.ts";

const fixtures = new URL("../fixtures/", import.meta.url);
const vectors = JSON.parse(readFileSync(new URL("vectors/kdf.json", fixtures), "utf8"));
const sampleBytes = new Uint8Array(readFileSync(new URL("tdx/dstack-sim-attestation.bin", fixtures)));
const sampleVector = vectors.sample_attestation[0];

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

describe("the real V0 sample", () => {
  const sample = decodeEvidence(sampleBytes);

  test("has the fields of its worked decode", () => {
    expect(sample.wire).toBe("v0");
    expect(sample.platform.kind === "tdx" && [sample.platform.quote.length, sample.platform.eventLog.length]).toEqual([5010, 33]);
    expect(sample.stack.runtimeEvents.map(({ event, payload }) => ({ event, payload: toHex(payload) }))).toEqual(
      sampleVector.runtime_events,
    );
    expect(sample.stack.config.length).toBe(553);
  });

  test.each([
    ["as it was", sample, sampleVector.file_sha256],
    ["stripped", stripEvidence(sample), sampleVector.stripped_v0.sha256],
    ["as V1", { ...sample, wire: "v1" as const }, sampleVector.as_v1_msgpack.sha256],
    ["as V1, stripped", stripEvidence({ ...sample, wire: "v1" }), sampleVector.as_v1_msgpack_stripped.sha256],
  ])("is written %s", (_name, evidence, expected) => {
    expect(sha256(encodeEvidence(evidence))).toBe(expected);
  });

  test("is stripped to the same value twice", () => {
    expect(stripEvidence(stripEvidence(sample))).toEqual(stripEvidence(sample));
  });

  test("is refused when cut anywhere, or with a byte behind it", () => {
    for (let length = 0; length < sampleBytes.length; length += 37) {
      expect(codeOf(() => decodeEvidence(sampleBytes.subarray(0, length)))).toBe("malformed.envelope");
    }
    expect(codeOf(() => decodeEvidence(concat(sampleBytes, Uint8Array.of(0))))).toBe("malformed.envelope");
  });
});

describe("V1 vectors", () => {
  test.each(vectors.attestation_v1_msgpack as { description: string; bytes: string }[])("$description", ({ bytes }) => {
    const evidence = decodeEvidence(fromHex(bytes, "vector"));
    expect(evidence.wire).toBe("v1");
    expect(toHex(encodeEvidence(evidence))).toBe(bytes);
    expect(codeOf(() => decodeEvidence(fromHex(`${bytes}00`, "vector")))).toBe("malformed.envelope");
  });
});

test.each([
  [0, 70, 0],
  [1, 71, 1],
])("the envelope at the end of CSR vector %i is a whole V0 envelope", (index, length, quoteBytes) => {
  const envelope = fromHex(vectors.csr_scale[index].bytes, "csr").subarray(-length);
  const evidence = decodeEvidence(envelope);
  expect(encodeEvidence(evidence)).toEqual(envelope);
  expect(evidence.platform.kind === "tdx" && evidence.platform.quote.length).toBe(quoteBytes);
});

const v1 = {
  version: 1,
  platform: { kind: "tdx", data: { quote: [1, 2, 255], event_log: [] as unknown[] } },
  stack: { kind: "dstack", data: { report_data: new Uint8Array(64), runtime_events: [] as unknown[], config: "" } },
};

describe("V1 readers", () => {
  test("take bin or arrays for bytes, any key order, and ignore unknown keys", () => {
    const data = { ...v1.platform.data, quote: Uint8Array.of(1, 2, 255), more: { deep: [1.5, null, true, -3, "x"] } };
    const evidence = decodeEvidence(encode({ stack: v1.stack, extra: 1, platform: { data, kind: "tdx" }, version: 1 }));
    expect(evidence).toEqual(decodeEvidence(encode(v1)));
  });

  const bin64 = new Uint8Array(64);
  test.each<[string, unknown]>([
    ["another version", { ...v1, version: 2 }],
    ["no version", { platform: v1.platform, stack: v1.stack }],
    ["an unknown platform", { ...v1, platform: { kind: "sgx", data: {} } }],
    ["an unknown stack", { ...v1, stack: { ...v1.stack, kind: "other" } }],
    ["no quote", { ...v1, platform: { kind: "tdx", data: { event_log: [] } } }],
    ["short report data", { ...v1, stack: { kind: "dstack", data: { ...v1.stack.data, report_data: new Uint8Array(63) } } }],
    ["a number over 255 among bytes", { ...v1, platform: { kind: "tdx", data: { quote: [256], event_log: [] } } }],
    [
      "an event of version 3",
      {
        ...v1,
        stack: {
          kind: "dstack",
          data: { report_data: bin64, runtime_events: [{ event: "a", payload: bin64, version: 3 }], config: "" },
        },
      },
    ],
    ["a list for a map", { ...v1, stack: [] }],
  ])("refuse %s", (_name, value) => {
    expect(codeOf(() => decodeEvidence(encode(value)))).toBe("malformed.envelope");
  });

  test("refuse a key that comes twice", () => {
    const twice = fromHex(`84a776657273696f6e01${toHex(encode(v1)).slice(2)}`, "v1");
    expect(codeOf(() => decodeEvidence(twice))).toBe("malformed.envelope");
  });

  test("refuse nesting without end and counts without content", () => {
    expect(codeOf(() => decodeEvidence(concat(fromHex("81a178", "head"), new Uint8Array(4096).fill(0x91))))).toBe(
      "malformed.envelope",
    );
    expect(codeOf(() => decodeEvidence(fromHex("dfffffffff", "head")))).toBe("malformed.envelope");
    expect(codeOf(() => decodeEvidence(fromHex("81a178ddffffffff", "head")))).toBe("malformed.envelope");
  });
});

test.each<[string, Uint8Array]>([
  ["nothing", new Uint8Array(0)],
  ["a CBOR-like first byte", Uint8Array.of(0xa0)],
  ["JSON", utf8("{}")],
  ["a platform past the list", fromHex("0005", "v0")],
  ["a compact length in a longer form", fromHex("000001000000", "v0")],
  ["a big-integer length", fromHex("000003ffffffff", "v0")],
  ["text that is not UTF-8", concat(fromHex("0002040100", "v0"), new Uint8Array(64), fromHex("04ff", "v0"))],
  ["more than ten MiB", new Uint8Array(MAX_ENVELOPE_BYTES + 1)],
])("refuses %s", (_name, bytes) => {
  expect(codeOf(() => decodeEvidence(bytes))).toBe("malformed.envelope");
});

const bytes = (maxLength = 40) => fc.uint8Array({ maxLength });
const text = fc.string({ unit: "grapheme", maxLength: 12 });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const version = fc.constantFrom(1 as const, 2 as const);
const tdxEvent = fc.record({ imr: u32, eventType: u32, digest: bytes(), event: text, eventPayload: bytes(), version });
const eventLog = fc.array(tdxEvent, { maxLength: 20 });
const tpmQuote = fc.record({
  message: bytes(),
  signature: bytes(),
  pcrValues: fc.array(fc.record({ index: u32, algorithm: text, value: bytes() }), { maxLength: 3 }),
  akCert: bytes(300),
  platform: fc.constantFrom("dstack" as const, "gcp" as const, "nitroenclave" as const, "aws-ec2" as const),
  eventLog: fc.array(fc.record({ pcrIndex: u32, digest: bytes() }), { maxLength: 3 }),
});
const platform = fc.oneof(
  fc.record({ kind: fc.constant("tdx" as const), quote: bytes(300), eventLog }),
  fc.record({ kind: fc.constant("gcp-tdx" as const), quote: bytes(300), eventLog, tpmQuote }),
  fc.record({ kind: fc.constant("nitro-enclave" as const), nsmQuote: bytes(300) }),
  fc.record({
    kind: fc.constant("sev-snp" as const),
    report: bytes(300),
    certChain: fc.array(bytes(), { maxLength: 3 }),
    mrConfig: text,
  }),
  fc.record({ kind: fc.constant("aws-nitro-tpm" as const), attestationDoc: bytes(300) }),
);
const stack = fc.record({
  kind: fc.constantFrom("dstack" as const, "dstack-pod" as const),
  reportData: fc.uint8Array({ minLength: 64, maxLength: 64 }),
  runtimeEvents: fc.array(fc.record({ event: text, payload: bytes(), version }), { maxLength: 20 }),
  config: text,
});
const anyEvidence: fc.Arbitrary<Evidence> = fc.record({ wire: fc.constant("v1" as const), platform, stack });

test("any V1 evidence survives the wire, and a second library reads the same maps", () => {
  fc.assert(
    fc.property(anyEvidence, (evidence) => {
      const wire = encodeEvidence(evidence);
      expect(decodeEvidence(wire)).toEqual(evidence);
      expect(decode(wire)).toMatchObject({
        version: 1,
        platform: { kind: evidence.platform.kind },
        stack: { kind: evidence.stack.kind },
      });
    }),
    { numRuns: 60 },
  );
});

test("V0 carries version-1 evidence and refuses to drop what it cannot express", () => {
  fc.assert(
    fc.property(anyEvidence, (evidence) => {
      const v0: Evidence = { ...evidence, wire: "v0" };
      const log = "eventLog" in evidence.platform ? evidence.platform.eventLog : [];
      if (preferredWire(evidence.stack) === "v1" || log.some((event) => event.version === 2)) {
        expect(codeOf(() => encodeEvidence(v0))).toBe("malformed.envelope");
      } else {
        expect(decodeEvidence(encodeEvidence(v0))).toEqual(v0);
      }
    }),
    { numRuns: 60 },
  );
});

test("random bytes end in a refusal with the envelope's code, whatever they start with", () => {
  const hostile = fc.tuple(fc.constantFrom(0x00, 0x80, 0x83, 0xde, 0xdf, 0x42), fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(hostile, ([first, rest]) => {
      expect(["malformed.envelope", "accepted"]).toContain(codeOf(() => decodeEvidence(concat(Uint8Array.of(first), rest))));
    }),
    { numRuns: 500 },
  );
});

test.each<[string, Uint8Array, RegExp]>([
  ["nothing", new Uint8Array(0), /^Empty attestation bytes$/],
  ["a byte over the limit", new Uint8Array(MAX_ENVELOPE_BYTES + 1), /^envelope: need at most \d+ bytes, have \d+$/],
  ["the limit", new Uint8Array(MAX_ENVELOPE_BYTES), /^(?!envelope: need at most)/],
  ["a first byte below a small map", Uint8Array.of(0x7f, 0), /^Unknown attestation wire format$/],
  ["a first byte above a small map", Uint8Array.of(0x90, 0), /^Unknown attestation wire format$/],
  ["an array of msgpack", Uint8Array.of(0xdd, 0), /^Unknown attestation wire format$/],
  ["a small map", Uint8Array.of(0x8f), /^(?!Unknown)/],
  ["a map of 16 bits", Uint8Array.of(0xde), /^(?!Unknown)/],
  ["a map of 32 bits", Uint8Array.of(0xdf), /^(?!Unknown)/],
])("%s is told apart by its size and first byte", (_what, bytes, message) => {
  expect(() => decodeEvidence(bytes)).toThrow(
    expect.objectContaining({ code: "malformed.envelope", message: expect.stringMatching(message) }),
  );
});

test("a bare quote with its log becomes evidence bound to the quote's own report data", () => {
  const capture = JSON.parse(readFileSync(new URL("tdx/dstack-quote-report.json", fixtures), "utf8"));
  const evidence = evidenceFromQuote(fromHex(capture.quote, "quote"), capture.event_log);
  expect(toHex(evidence.stack.reportData)).toBe(capture.report_data);
  expect(evidence.stack.config).toBe("");
  expect(evidence.stack.runtimeEvents.map(({ event }) => event).slice(0, 3)).toEqual([
    "system-preparing",
    "app-id",
    "compose-hash",
  ]);
  expect(codeOf(() => evidenceFromQuote(fromHex(capture.quote, "quote").subarray(0, 500), "[]"))).toBe("malformed.quote");
});
