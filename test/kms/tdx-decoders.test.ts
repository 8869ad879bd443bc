/** Hostile bytes: no decoder of quotes, collateral, DER, PEM or JSON fails with anything but its code, and no changed bit verifies. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Collateral, parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { parseCrl } from "../../kms/attestation/tdx/crl.ts";
import { INTEL_SGX_ROOT_CA_DER } from "../../kms/attestation/tdx/intel-root.ts";
import { cutMembers, parseJson } from "../../kms/attestation/tdx/json-text.ts";
import { parsePlatformIdentity } from "../../kms/attestation/tdx/pck.ts";
import { certificateTexts, derFromBase64 } from "../../kms/attestation/tdx/pem.ts";
import { parseQeIdentity } from "../../kms/attestation/tdx/qe-identity.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { parseTcbInfo } from "../../kms/attestation/tdx/tcb-info.ts";
import { intelSgxRootCa } from "../../kms/attestation/tdx/trust-anchor.ts";
import { pckChainOf, verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { parseCertificate } from "../../kms/attestation/tdx/x509.ts";
import { parseChain } from "../../kms/attestation/tdx/x509-path.ts";
import { DerReader } from "../../kms/der.ts";
import { type Code, KmsError } from "../../kms/errors.ts";
import { readCollateral, readFixture, readQuote } from "../support/tdx-samples.ts";

const quoteBytes = readQuote("tdx-v4-b0c06f-a.bin");
const quote = parseQuote(quoteBytes);
const { certification } = quote.qe;
if (certification.kind !== "pck-chain") throw new Error("the sample has a chain");
const collateral = readCollateral("collateral-b0c06f-2025-06.json");
const collateralJson = Buffer.from(readFixture("collateral-b0c06f-2025-06.json")).toString();
const [pck] = parseChain(pckChainOf(quote));
const now = new Date("2025-07-01T00:00:00Z");

/** Runs a decoder; a refusal must be a KmsError with one of the codes. */
function refusesWith(codes: readonly Code[], run: () => unknown): "passed" | "refused" {
  try {
    run();
    return "passed";
  } catch (problem) {
    expect(problem).toBeInstanceOf(KmsError);
    if (problem instanceof KmsError) expect(codes).toContain(problem.code);
    return "refused";
  }
}

interface Change {
  readonly kind: "flip" | "cut" | "insert";
  readonly at: number;
  readonly value: number;
}

function changeOf(length: number): fc.Arbitrary<Change> {
  return fc.record({
    kind: fc.constantFrom<Change["kind"]>("flip", "flip", "cut", "insert"),
    at: fc.nat(length - 1),
    value: fc.nat(255),
  });
}

function apply(bytes: Uint8Array, { kind, at, value }: Change): Uint8Array {
  if (kind === "cut") return bytes.slice(0, at);
  if (kind === "flip") return bytes.with(at, (bytes[at] ?? 0) ^ (1 << (value & 7)));
  return Uint8Array.from([...bytes.subarray(0, at), value, ...bytes.subarray(at)]);
}

interface Decoder {
  readonly name: string;
  readonly good: Uint8Array;
  readonly codes: readonly Code[];
  readonly decode: (bytes: Uint8Array) => unknown;
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
const decoders: readonly Decoder[] = [
  { name: "quote v4", good: quoteBytes, codes: ["malformed.quote"], decode: parseQuote },
  { name: "quote v5", good: readQuote("tdx-v5-90c06f-td15.bin"), codes: ["malformed.quote"], decode: parseQuote },
  { name: "quote v3", good: readQuote("sgx-v3-00a067110000.bin"), codes: ["malformed.quote"], decode: parseQuote },
  { name: "certificate", good: INTEL_SGX_ROOT_CA_DER, codes: ["malformed.certificate"], decode: parseCertificate },
  {
    name: "PCK certificate",
    good: pck.raw,
    codes: ["malformed.certificate"],
    decode: (bytes) => parsePlatformIdentity(parseCertificate(bytes)),
  },
  {
    name: "revocation list",
    good: collateral.pckCrl,
    codes: ["malformed.collateral"],
    decode: (bytes) => parseCrl(bytes, "crl"),
  },
  {
    name: "PEM chain",
    good: certification.pem,
    codes: ["malformed.certificate"],
    decode: (bytes) => certificateTexts(text(bytes)).map(derFromBase64),
  },
  {
    name: "TCB info",
    good: Buffer.from(collateral.tcbInfo),
    codes: ["malformed.collateral"],
    decode: (bytes) => parseTcbInfo(text(bytes)),
  },
  {
    name: "QE identity",
    good: Buffer.from(collateral.qeIdentity),
    codes: ["malformed.collateral"],
    decode: (bytes) => parseQeIdentity(text(bytes)),
  },
  {
    name: "collateral JSON",
    good: Buffer.from(collateralJson),
    codes: ["malformed.collateral"],
    decode: (bytes) => parseCollateral(text(bytes)),
  },
];

describe.each(decoders)("the decoder of a $name", ({ good, codes, decode }) => {
  test("takes the good one", () => {
    expect(refusesWith(codes, () => decode(good))).toBe("passed");
  });

  test("refuses any bytes with its own codes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        refusesWith(codes, () => decode(bytes));
      }),
      { numRuns: 300 },
    );
  });

  test("survives flips, cuts and insertions", () => {
    fc.assert(
      fc.property(fc.array(changeOf(good.length), { minLength: 1, maxLength: 3 }), (changes) => {
        refusesWith(codes, () =>
          decode(changes.reduce((bytes, change) => (change.at < bytes.length ? apply(bytes, change) : bytes), good)),
        );
      }),
      { numRuns: 200 },
    );
  });
});

describe("verification", () => {
  const every: readonly Code[] = [
    "malformed.quote",
    "malformed.certificate",
    "malformed.collateral",
    "unproven.qe-vendor",
    "unproven.tee-type",
    "unproven.key-type",
    "unproven.certificate-chain",
    "unproven.certificate-revoked",
    "unproven.crl",
    "unproven.collateral-signature",
    "unproven.collateral-expired",
    "unproven.qe-identity",
    "unproven.qe-report",
    "unproven.quote-signature",
    "unproven.platform",
    "unproven.platform-unsupported",
  ];
  const verify = (bytes: Uint8Array, changed: Partial<Collateral> = {}) =>
    verifyQuote({ quote: parseQuote(bytes), collateral: { ...collateral, ...changed }, anchor: intelSgxRootCa, now });

  /** Bytes that no signature covers and no rule reads: the outer certification type, and text around the PEM blocks. */
  const outerType = [764, 765];
  const pemText = text(certification.pem);
  const pemStart = quoteBytes.length - quote.trailing.length - certification.pem.length;
  const rootCopy = pemStart + pemText.lastIndexOf("-----BEGIN");

  test("never passes a quote with a flipped bit, except where nothing is said", () => {
    fc.assert(
      fc.property(fc.nat(4935), fc.nat(7), (at, bit) => {
        const result = refusesWith(every, () => verify(quoteBytes.with(at, (quoteBytes[at] ?? 0) ^ (1 << bit))));
        // the root's copy in the chain is not used: the anchor is ours. A flipped line end is still text between blocks
        const unread = outerType.includes(at) || at >= rootCopy - 1 || [0x0a, 0x2d].includes(quoteBytes[at] ?? 0);
        if (!unread) expect(result).toBe("refused");
      }),
      { numRuns: 400 },
    );
  });

  test("never passes a truncated quote", () => {
    fc.assert(
      fc.property(fc.nat(4935), (length) => {
        expect(refusesWith(["malformed.quote"], () => parseQuote(quoteBytes.slice(0, length)))).toBe("refused");
      }),
      { numRuns: 200 },
    );
  });

  test.each(["rootCaCrl", "pckCrl", "tcbInfoSignature", "qeIdentitySignature"] as const)(
    "never passes a flipped bit in %s",
    (member) => {
      const bytes = collateral[member];
      fc.assert(
        fc.property(fc.nat(bytes.length - 1), fc.nat(7), (at, bit) => {
          const changed = bytes.with(at, (bytes[at] ?? 0) ^ (1 << bit));
          expect(refusesWith(every, () => verify(quoteBytes, { [member]: changed }))).toBe("refused");
        }),
        { numRuns: 150 },
      );
    },
  );

  test.each(["tcbInfo", "qeIdentity"] as const)("never passes a changed character in %s", (member) => {
    const original = collateral[member];
    fc.assert(
      fc.property(fc.nat(original.length - 1), fc.string({ minLength: 0, maxLength: 2 }), (at, replacement) => {
        const changed = original.slice(0, at) + replacement + original.slice(at + 1);
        if (changed === original) return;
        expect(refusesWith(every, () => verify(quoteBytes, { [member]: changed }))).toBe("refused");
      }),
      { numRuns: 150 },
    );
  });
});

describe("the DER reader", () => {
  const refused = expect.objectContaining({ code: "malformed.certificate" });
  const reader = (...bytes: number[]) => new DerReader(Uint8Array.from(bytes), "malformed.certificate");

  test.each([
    { name: "an indefinite length", bytes: [0x30, 0x80, 0, 0] },
    { name: "a long length that could be short", bytes: [0x30, 0x81, 1, 0] },
    { name: "a length with a leading zero", bytes: [0x30, 0x82, 0, 0x80] },
    { name: "a length of five bytes", bytes: [0x30, 0x85, 0, 0, 0, 0, 1, 0] },
    { name: "a length beyond the input", bytes: [0x30, 2, 0] },
    { name: "a tag of several bytes", bytes: [0x3f, 0x81, 0, 0] },
    { name: "a tag alone", bytes: [0x30] },
  ])("refuses $name", ({ bytes }) => {
    expect(() => reader(...bytes).next("value")).toThrow(refused);
  });

  test.each([
    { name: "a boolean that is neither", run: () => reader(1, 1, 1).boolean("value") },
    { name: "a boolean of two bytes", run: () => reader(1, 2, 0, 0).boolean("value") },
    { name: "an integer without content", run: () => reader(2, 0).unsigned("value", 4) },
    { name: "a negative integer", run: () => reader(2, 1, 0xff).unsigned("value", 4) },
    { name: "an integer with a leading zero", run: () => reader(2, 2, 0, 0x7f).unsigned("value", 4) },
    { name: "an integer beyond the limit", run: () => reader(2, 5, 1, 0, 0, 0, 0).smallInteger("value") },
    { name: "an empty object identifier", run: () => reader(6, 0).oid("value") },
    { name: "an object identifier without end", run: () => reader(6, 2, 0x2a, 0x86).oid("value") },
    { name: "an object identifier with a padded arc", run: () => reader(6, 3, 0x2a, 0x80, 1).oid("value") },
    { name: "a bit string with unused bits", run: () => reader(3, 2, 1, 0).wholeBits("value") },
    { name: "an empty bit string", run: () => reader(3, 0).wholeBits("value") },
    { name: "bytes left over", run: () => reader(5, 0).end("value") },
  ])("refuses $name", ({ run }) => {
    expect(run).toThrow(refused);
  });

  test("reads object identifiers of every root", () => {
    expect(reader(6, 3, 0x55, 0x1d, 0x13).oid("value")).toBe("2.5.29.19");
    expect(reader(6, 2, 0x88, 0x37).oid("value")).toBe("2.999");
    expect(reader(6, 1, 0x27).oid("value")).toBe("0.39");
  });
});

describe("the JSON reader", () => {
  test("agrees with JSON.parse on what it takes, apart from fractions and repeats", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), (json) => {
        // refused by a rule of its own, and what the generator tries now and then
        fc.pre(!json.includes("__proto__"));
        const integers = (_: string, value: unknown) =>
          typeof value === "number" && !Number.isSafeInteger(value) ? null : value;
        const ours = JSON.parse(JSON.stringify(parseJson(json, "test")), integers);
        const theirs = JSON.parse(json, integers);
        if (!/[.eE]|\d{15}/.test(json)) expect(ours).toEqual(theirs);
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":1}',
    "{",
    "[1,]",
    "01",
    "1 2",
    "NaN",
    '"\n"',
    '"\\x"',
    "[".repeat(40),
    "",
    '{"a"}',
  ])("refuses %j", (json) => {
    expect(() => parseJson(json, "test")).toThrow(expect.objectContaining({ code: "malformed.collateral" }));
  });

  test("turns fractions, exponents and long numbers into NaN, which no schema takes", () => {
    expect(parseJson("[1.0,1e0,12345678901234567890,-3]", "test")).toEqual([Number.NaN, Number.NaN, Number.NaN, -3]);
  });

  test("cuts members out as they stand", () => {
    const members = cutMembers(' { "b" : { "2":1.0, "1":"\\u0041" } , "a":[ ]}', "test");
    expect([...members]).toEqual([
      ["b", '{ "2":1.0, "1":"\\u0041" }'],
      ["a", "[ ]"],
    ]);
  });
});
