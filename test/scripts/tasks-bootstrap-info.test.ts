/** The bootstrap information in every form that was ever written, and what is refused. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bootstrapReportData } from "../../kms/attestation/report-data.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { parseBootstrapInfo } from "../../scripts/lib/bootstrap-info.ts";
import { toKmsInfo } from "../../scripts/lib/registration.ts";
import { legacyFile, makeBootstrapFile } from "./support/bootstrap-file.ts";

const good = makeBootstrapFile();
const parse = (file: object) => parseBootstrapInfo(utf8(JSON.stringify(file)));
const prefixed = (file: Record<string, string>) =>
  Object.fromEntries(Object.entries(file).map(([key, value]) => [key, `0x${value}`]));
const { ca_pubkey: ca, k256_pubkey: k256, attestation } = good;

test("the bound message gives the vector of the specification", () => {
  const caSpki = Buffer.from(`3059301306072a8648ce3d020106082a8648ce3d03010703420004${"11".repeat(32)}${"22".repeat(32)}`, "hex");
  const expected = `4b74fdc83992680beac467529ae7c58cdbb56e703cf427e4a8969743aad6013e${"00".repeat(32)}`;
  expect(toHex(bootstrapReportData(caSpki, Buffer.from(`02${"33".repeat(32)}`, "hex")))).toBe(expected);
});

describe("forms", () => {
  const camel = { caPubkey: ca, k256Pubkey: k256 };
  const legacy = legacyFile(good);
  test.each<[string, object]>([
    ["the file of today", good],
    ["the set-up page of today", prefixed({ ...camel, attestation })],
    ["the legacy file", legacy],
    ["the legacy set-up page", prefixed({ ...camel, quote: legacy.quote, eventlog: legacy.eventlog })],
    ["the legacy file with an empty attestation", { ...legacy, attestation: "" }],
    ["upper-case hex", { ...good, ca_pubkey: ca.toUpperCase() }],
    ["members that nobody knows", { ...good, app_id: "aa" }],
  ])("reads %s", (_name, file) => {
    const info = parse(file);
    expect([toHex(info.caSpki), toHex(info.k256Pubkey)]).toEqual([ca, k256]);
    expect(toHex(info.evidence.stack.reportData)).toBe(toHex(bootstrapReportData(info.caSpki, info.k256Pubkey)));
  });

  test("store the raw quote and the log in JSON", () => {
    const stored = toKmsInfo(parse(good));
    expect(stored.quote).toBe(`0x${legacy.quote}`);
    expect(JSON.parse(Buffer.from(stored.eventlog.slice(2), "hex").toString("utf8"))).toContainEqual(
      expect.objectContaining({ imr: 3, event_type: 0x08000001, event: "compose-hash" }),
    );
  });
});

describe("refusals", () => {
  test.each<[string, object | null, string]>([
    ["no object", null, "malformed.file"],
    ["a number for hex", { ...good, ca_pubkey: 1 }, "malformed.file"],
    ["a missing key", { ...good, k256_pubkey: undefined }, "malformed.file"],
    ["two spellings of one key", { ...good, caPubkey: ca }, "malformed.file"],
    ["attestation and quote", { ...good, quote: "00" }, "malformed.file"],
    ["text that is no hex", { ...good, ca_pubkey: `${ca.slice(0, -1)}g` }, "malformed.hex"],
    ["a short CA key", { ...good, ca_pubkey: ca.slice(0, -2) }, "malformed.length"],
    ["an uncompressed identity key", { ...good, k256_pubkey: `${k256}00` }, "malformed.length"],
    ["a CA key off the curve", { ...good, ca_pubkey: `${ca.slice(0, -64)}${"00".repeat(32)}` }, "malformed.key"],
    ["an identity key off the curve", { ...good, k256_pubkey: `02${"ff".repeat(32)}` }, "malformed.key"],
    ["no evidence", { ...good, attestation: "" }, "unproven.registration"],
    ["a quote without its log", { ...good, attestation: undefined, quote: "04" }, "unproven.registration"],
    ["an unknown envelope", { ...good, attestation: "ff00" }, "malformed.envelope"],
    ["a cut envelope", { ...good, attestation: attestation.slice(0, -2) }, "malformed.envelope"],
  ])("%s", (_name, file, code) => {
    expect(() => parse(file as object)).toThrow(expect.objectContaining({ code }));
  });

  test("malformed UTF-8 and garbage are refused with a code, never with another error", () => {
    const mutate = fc.record({ at: fc.nat(), byte: fc.nat(255) });
    const bytes = utf8(JSON.stringify(good));
    const mutated = mutate.map(({ at, byte }) => bytes.with(at % bytes.length, byte));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), mutated), (input) => {
        try {
          parseBootstrapInfo(input);
        } catch (error) {
          expect(error).toBeInstanceOf(KmsError);
          expect((error as KmsError).family).toMatch(/^(malformed|unproven)$/);
        }
      }),
      { numRuns: 200 },
    );
  });
});
