/** Times of certificates and lists: the one spelling of each second that exists. */
import { describe, expect, test } from "vitest";
import { DerReader } from "../../kms/der.ts";

const utc = 0x17;
const generalized = 0x18;
const read = (tag: number, text: string) =>
  new DerReader(Uint8Array.from([tag, text.length, ...Buffer.from(text, "latin1")]), "malformed.certificate").time("time");

describe("a time", () => {
  test.each<[string, number, string]>([
    ["500101000000Z", utc, "1950-01-01T00:00:00Z"],
    ["491231235959Z", utc, "2049-12-31T23:59:59Z"],
    ["991231235959Z", utc, "1999-12-31T23:59:59Z"],
    ["000101000000Z", utc, "2000-01-01T00:00:00Z"],
    ["240229120102Z", utc, "2024-02-29T12:01:02Z"],
    ["20491231235959Z", generalized, "2049-12-31T23:59:59Z"],
    ["20500101000000Z", generalized, "2050-01-01T00:00:00Z"],
    ["99991231235959Z", generalized, "9999-12-31T23:59:59Z"],
    ["00010203040506Z", generalized, "0001-02-03T04:05:06Z"],
  ])("%s is read", (text, tag, iso) => {
    expect(read(tag, text)).toBe(Date.parse(iso) / 1000);
  });

  test.each<[string, number]>([
    ["250001000000Z", utc],
    ["251301000000Z", utc],
    ["250100000000Z", utc],
    ["250132000000Z", utc],
    ["250431000000Z", utc],
    ["250229000000Z", utc],
    ["21000229000000Z", generalized],
    ["250101240000Z", utc],
    ["250101006000Z", utc],
    ["250101000060Z", utc],
    ["2501010000Z", utc],
    ["250101000000", utc],
    ["250101000000+", utc],
    ["250101000000z", utc],
    ["25010100000AZ", utc],
    ["2501010000/0Z", utc],
    ["2501010000:0Z", utc],
    ["20250101000000Z", utc],
    ["250101000000Z", generalized],
    ["20250101000000.5Z", generalized],
    ["20250101000000.Z", generalized],
    ["-0250101000000Z", generalized],
    ["", utc],
    ["250101000000Z", 0x13],
  ])("%s with tag %i is refused", (text, tag) => {
    expect(() => read(tag, text)).toThrow(expect.objectContaining({ code: "malformed.certificate" }));
  });
});

describe("a reader within another", () => {
  const bytes = Uint8Array.of(0x30, 3, 2, 1, 5, 2, 1, 9);

  test("ends where its element ends", () => {
    const outer = new DerReader(bytes, "malformed.certificate");
    const inner = outer.inside(0x30, "list");
    expect(inner.smallInteger("first")).toBe(5);
    expect([inner.done, inner.has(2), outer.done]).toEqual([true, false, false]);
    expect(() => inner.next("second")).toThrow(expect.objectContaining({ code: "malformed.certificate" }));
    expect(outer.smallInteger("second")).toBe(9);
    outer.end("all");
  });

  test("refuses an element that is longer than it", () => {
    const inner = new DerReader(Uint8Array.of(0x30, 2, 2, 3, 1, 1, 1), "malformed.certificate").inside(0x30, "list");
    expect(() => inner.content(2, "integer")).toThrow(expect.objectContaining({ code: "malformed.certificate" }));
  });

  test("gives elements raw, and the rest", () => {
    const outer = new DerReader(bytes, "malformed.certificate");
    expect(outer.raw(0x30, "list")).toEqual(bytes.subarray(0, 5));
    expect(outer.rest()).toEqual(bytes.subarray(5));
    expect(outer.done).toBe(true);
  });
});
