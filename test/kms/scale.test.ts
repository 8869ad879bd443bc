/** SCALE: one spelling for each value, at each bound of its compact lengths. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ScaleReader, scaleBytes, scaleCompact, scaleText, scaleU8, scaleU32, scaleVec } from "../../kms/attestation/scale.ts";
import { concat, fromHex, toHex } from "../../kms/bytes.ts";

const reader = (bytes: Uint8Array | string) =>
  new ScaleReader(typeof bytes === "string" ? fromHex(bytes, "value") : bytes, "malformed.envelope");
const refused = (message: RegExp) =>
  expect.objectContaining({ code: "malformed.envelope", message: expect.stringMatching(message) });

describe("a compact length", () => {
  test.each([
    [0, "00"],
    [1, "04"],
    [63, "fc"],
    [64, "0101"],
    [255, "fd03"],
    [16_383, "fdff"],
    [16_384, "02000100"],
    [65_535, "feff0300"],
    [2 ** 30 - 1, "feffffff"],
  ])("of %i is %s, both ways", (value, hex) => {
    const from = reader(hex);
    expect(from.compact("n")).toBe(value);
    expect(() => from.end("n")).not.toThrow();
    expect(toHex(scaleCompact(value))).toBe(hex);
  });

  test.each([
    ["0100", /length 0 is not in its shortest form/],
    ["fd00", /length 63 is not/],
    ["02000000", /length 0 is not/],
    ["feff0000", /length 16383 is not/],
    ["03ffffffff", /need a length under 1073741824/],
    ["07000000000001", /need a length under/],
    ["01", /n/],
    ["020001", /n/],
  ])("%s is refused", (hex, message) => expect(() => reader(hex).compact("n")).toThrow(refused(message)));

  test("has no form from 2³⁰ on", () => {
    expect(() => scaleCompact(2 ** 30)).toThrow(expect.objectContaining({ code: "fault.internal" }));
  });

  test("is read as it was written", () => {
    const value = fc.oneof(fc.nat(2 ** 30 - 1), fc.nat(70_000), fc.nat(70));
    fc.assert(fc.property(value, (length) => reader(scaleCompact(length)).compact("n") === length));
  });
});

describe("a switch", () => {
  test("is 0 or 1", () => {
    expect([reader("00").bool("b"), reader("01").bool("b")]).toEqual([false, true]);
    expect(() => reader("02").bool("b")).toThrow(refused(/^b: need 0 or 1, have 2$/));
  });

  test("says whether an option has a value", () => {
    const read = (hex: string) => {
      const from = reader(hex);
      return [from.option("o", () => from.u8("v")), toHex(from.rest())];
    };
    expect([read("0007"), read("0107")]).toEqual([
      [undefined, "07"],
      [7, ""],
    ]);
    expect(() => read("0207")).toThrow(refused(/need 0 or 1/));
  });
});

test("numbers have their lowest byte first", () => {
  const from = reader("01" + "02030405" + "0102030405060708" + "aabb" + "cc");
  expect([from.u8("a"), from.u32("b"), from.u64("c"), toHex(from.fixed(2, "d"))]).toEqual([
    1,
    0x05040302,
    0x0807060504030201n,
    "aabb",
  ]);
  expect(() => from.end("record")).toThrow(refused(/record/));
  expect([toHex(from.rest()), toHex(scaleU8(255)), toHex(scaleU32(0x05040302))]).toEqual(["cc", "ff", "02030405"]);
});

test("bytes, text and lists have their length before them", () => {
  expect(toHex(concat(scaleBytes(Uint8Array.of(1, 2)), scaleText("é"), scaleVec([3, 4, 5], scaleU8)))).toBe(
    "080102" + "08c3a9" + "0c030405",
  );
  const from = reader("080102" + "08c3a9" + "0c030405");
  expect(from.bytes("b")).toEqual(Uint8Array.of(1, 2));
  expect(from.text("t")).toBe("é");
  expect(from.vec("v", 3, (field) => [field, from.u8(field)])).toEqual([
    ["v[0]", 3],
    ["v[1]", 4],
    ["v[2]", 5],
  ]);
  expect(() => from.end("record")).not.toThrow();
});

test("a list longer than its limit, text that is none and bytes that are missing are refused", () => {
  const three = reader("0c030405");
  expect(() => three.vec("v", 2, () => 0)).toThrow(refused(/^v: need at most 2 entries, have 3$/));
  expect(() => reader("04ff").text("t")).toThrow(refused(/^t/));
  expect(() => reader("0801").bytes("b")).toThrow(refused(/^b/));
});
