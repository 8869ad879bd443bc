/** The DER writer against the strict reader, and against spellings that the standards give. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toHex } from "../../kms/bytes.ts";
import { DerReader, TAG } from "../../kms/der.ts";
import * as der from "../../kms/der-write.ts";

const reader = (bytes: Uint8Array) => new DerReader(bytes, "malformed.certificate");
const hex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));

describe("one spelling of", () => {
  test.each([
    [0, "0400"],
    [127, `047f${"00".repeat(127)}`],
    [128, `048180${"00".repeat(128)}`],
    [256, `04820100${"00".repeat(256)}`],
    [65_536, `0483010000${"00".repeat(65_536)}`],
  ])("a length of %d", (length, expected) => {
    expect(toHex(der.octetString(new Uint8Array(length)))).toBe(expected);
  });

  test.each([
    ["00", "020100"],
    ["", "020100"],
    ["0000", "020100"],
    ["7f", "02017f"],
    ["80", "02020080"],
    ["000080", "02020080"],
    ["0100", "02020100"],
  ])("the integer %s", (magnitude, expected) => {
    expect(toHex(der.unsigned(hex(magnitude)))).toBe(expected);
  });

  test.each([
    ["2.5.4.3", "0603550403"],
    ["1.2.840.10045.4.3.2", "06082a8648ce3d040302"],
    ["1.3.6.1.4.1.62397.1.8", "060a2b0601040183e73d0108"],
    ["2.999.1", "0603883701"],
  ])("the identifier %s", (dotted, expected) => {
    expect(toHex(der.oid(dotted))).toBe(expected);
    expect(reader(der.oid(dotted)).oid("oid")).toBe(dotted);
  });

  test.each([
    ["1949-12-31T23:59:59Z", "180f31393439313233313233353935395a"],
    ["1950-01-01T00:00:00Z", "170d3530303130313030303030305a"],
    ["1975-01-01T00:00:00Z", "170d3735303130313030303030305a"],
    ["2049-12-31T23:59:59.999Z", "170d3439313233313233353935395a"],
    ["2050-01-01T00:00:00Z", "180f32303530303130313030303030305a"],
    ["9999-12-31T23:59:59Z", "180f39393939313233313233353935395a"],
  ])("the time %s", (text, expected) => {
    expect(toHex(der.time(new Date(text)))).toBe(expected);
    expect(reader(der.time(new Date(text))).time("time")).toBe(Math.floor(Date.parse(text) / 1000));
  });

  test("no time that certificates cannot name", () => {
    expect(() => der.time(new Date("+010000-01-01T00:00:00Z"))).toThrow(RangeError);
  });
});

test("what is written is read again", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), fc.nat(127), (parts, small) => {
      const items = parts.map((part) => new Uint8Array(part));
      const written = der.sequence(...items.map(der.octetString), der.smallInteger(small), der.TRUE, der.bitString(hex("ff")));
      const outer = reader(written);
      const inside = outer.inside(TAG.sequence, "sequence");
      outer.end("sequence");
      for (const item of items) expect(inside.content(TAG.octetString, "item")).toEqual(item);
      expect(inside.smallInteger("integer")).toBe(small);
      expect(inside.boolean("flag")).toBe(true);
      expect(inside.wholeBits("bits")).toEqual(hex("ff"));
      inside.end("sequence");
    }),
  );
});
