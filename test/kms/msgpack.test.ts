/** MessagePack at every width: what each first byte means to the reader, and the writer beside another library's. */
import { encode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";
import { MsgpackReader, packArray, packBin, packByteArray, packMap, packText, packUint } from "../../kms/attestation/msgpack.ts";
import { concat, fromHex, toHex, utf8 } from "../../kms/bytes.ts";

const reader = (bytes: Uint8Array | string) =>
  new MsgpackReader(typeof bytes === "string" ? fromHex(bytes, "value") : bytes, "malformed.envelope");
const refused = (message: RegExp) =>
  expect.objectContaining({ code: "malformed.envelope", message: expect.stringMatching(message) });

/** What `read` makes of the bytes, all of which it has to use. */
function whole<T>(bytes: Uint8Array | string, read: (from: MsgpackReader) => T): T {
  const from = reader(bytes);
  const value = read(from);
  from.end("value");
  return value;
}

const lengths = [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536];

describe("an unsigned integer", () => {
  test.each([
    ["00", 0],
    ["7f", 127],
    ["cc80", 128],
    ["ccff", 255],
    ["cd0100", 256],
    ["cdffff", 65_535],
    ["ce00010000", 65_536],
    ["ceffffffff", 4_294_967_295],
  ])("%s is %i, both ways", (hex, value) => {
    expect(whole(hex, (from) => from.uint("n"))).toBe(value);
    expect(toHex(packUint(value))).toBe(hex);
    expect(toHex(encode(value))).toBe(hex);
  });

  test.each(["cf0000000100000000", "d001", "e0", "ff", "80", "a0", "c0", "ca00000000"])("%s is none", (hex) => {
    expect(() => reader(hex).uint("n")).toThrow(refused(/^n: need an unsigned integer/));
  });
});

describe.each(lengths)("of %i", (length) => {
  const bytes = Uint8Array.from({ length }, (_, index) => index % 256);

  test("bytes are read and written as the other library has them", () => {
    expect(
      Buffer.compare(
        whole(encode(bytes), (from) => from.bytes("b")),
        bytes,
      ),
    ).toBe(0);
    expect(Buffer.compare(packBin(bytes), encode(bytes))).toBe(0);
  });

  test("integers are bytes, too", () => {
    const list = encode(Array.from(bytes));
    expect(
      Buffer.compare(
        whole(list, (from) => from.bytes("b")),
        bytes,
      ),
    ).toBe(0);
    expect(Buffer.compare(packByteArray(bytes), list)).toBe(0);
  });

  test("characters are text", () => {
    const text = "x".repeat(length);
    expect(whole(encode(text), (from) => from.text("t"))).toBe(text);
    expect(Buffer.compare(packText(text), encode(text))).toBe(0);
  });

  test("items are an array", () => {
    const items = Array.from({ length }, () => 7);
    const found = whole(encode(items), (from) => from.array("a", length, (field) => `${field}=${from.uint("n")}`));
    expect([found.length, found.at(-1)]).toEqual([length, length > 0 ? `a[${length - 1}]=7` : undefined]);
    expect(Buffer.compare(packArray(items.map(packUint)), encode(items))).toBe(0);
    if (length > 0) expect(() => reader(encode(items)).array("a", length - 1, () => 0)).toThrow(refused(/^a: need at most/));
  });

  test("members are a map for the writer, and up to 256 for the reader", () => {
    const members = Array.from({ length }, (_, index) => [`k${index}`, index] as const);
    const packed = packMap(members.map(([key, value]) => [key, packUint(value)]));
    expect(Buffer.compare(packed, encode(Object.fromEntries(members)))).toBe(0);
    const found: [string, number][] = [];
    const read = () =>
      whole(packed, (from) =>
        from.map("m", (key) => {
          found.push([key, from.uint("n")]);
          return true;
        }),
      );
    if (length > 256) return expect(read).toThrow(refused(/^m: need at most 256 members/));
    read();
    return expect(found).toEqual(members);
  });
});

describe("a reader refuses", () => {
  test.each<[string, string, (from: MsgpackReader) => unknown, RegExp]>([
    ["257 members", "de0101", (from) => from.map("m", () => false), /at most 256 members, have 257/],
    ["a map of 2³² − 1", "dfffffffff", (from) => from.map("m", () => false), /have 4294967295/],
    ["a list for a map", "90", (from) => from.map("m", () => false), /need a map/],
    ["a key twice", "82a16101a16102", (from) => from.map("m", () => false), /a key comes twice/],
    ["a key that is no text", "810101", (from) => from.map("m", () => false), /need text/],
    ["a map for a list", "80", (from) => from.array("a", 9, () => 0), /need an array/],
    ["bytes for text", "c40161", (from) => from.text("t"), /need text/],
    ["text that is no UTF-8", "a1ff", (from) => from.text("t"), /^t/],
    ["text for bytes", "a161", (from) => from.bytes("b"), /need an array/],
    ["256 among bytes", "91cd0100", (from) => from.bytes("b"), /need bytes, have 256/],
    ["more integers than there are bytes left", "9301cc", (from) => from.bytes("b"), /need 3 bytes, have 2/],
    ["a byte that is left", "0100", (from) => whole(fromHex("0100", "v"), (inner) => inner.uint("n")) ?? from, /value/],
  ])("%s", (_name, hex, read, message) => {
    expect(() => read(reader(hex))).toThrow(refused(message));
  });

  test.each(["c1", "c7000100", "c800000100", "c9000000000100", "d400", "d500", "d600", "d700", "d800"])(
    "to pass over %s, which starts no value here",
    (hex) => expect(() => reader(`${hex}${"00".repeat(16)}`).skip("s")).toThrow(refused(/no value starts with byte/)),
  );
});

describe("a value that nobody reads is passed over:", () => {
  const values: [string, unknown][] = [
    ["nothing", null],
    ["false", false],
    ["true", true],
    ["a fraction", 1.5],
    ["integers of every width", [0, 127, 128, 256, 65_536, 2 ** 40, -1, -32, -33, -200, -40_000, -(2 ** 40)]],
    ["text of every width", lengths.map((length) => "x".repeat(length))],
    ["bytes of every width", lengths.map((length) => new Uint8Array(length))],
    ["lists of every width", lengths.map((length) => Array(length).fill(1))],
    ["maps", [{}, { a: 1 }, Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`k${at}`, at]))]],
  ];
  test.each(values)("%s", (_name, value) => {
    const bytes = concat(encode(value), Uint8Array.of(0x2a));
    const from = reader(bytes);
    from.skip("s");
    expect(from.uint("n")).toBe(0x2a);
  });

  test.each(["ca00000000", "cb0000000000000000", "de0000", "df00000000", "dc0000", "dd00000000"])("%s", (hex) => {
    whole(hex, (from) => from.skip("s"));
  });

  test("nested sixteen deep, and no deeper", () => {
    for (const head of ["91", "81a161"]) {
      expect(() => reader(`${head.repeat(16)}01`).skip("s")).not.toThrow();
      expect(() => reader(`${head.repeat(17)}01`).skip("s")).toThrow(refused(/nested deeper than 16/));
    }
  });

  test("a million of them together, and no more", () => {
    const list = (items: number) => concat(fromHex(`dd${items.toString(16).padStart(8, "0")}`, "head"), new Uint8Array(items));
    expect(() => reader(list(1024 * 1024 - 1)).skip("s")).not.toThrow();
    expect(() => reader(list(1024 * 1024)).skip("s")).toThrow(refused(/more than 1048576 values/));
  });

  test("and kept for later, no more and no less", () => {
    const from = reader(concat(packText("first"), packBin(utf8("second")), packUint(3)));
    from.skip("s");
    const kept = from.slice("s");
    expect(from.uint("n")).toBe(3);
    expect(kept.bytes("b")).toEqual(utf8("second"));
    expect(() => kept.end("kept")).not.toThrow();
    expect(() => reader("c1").slice("s")).toThrow(refused(/no value/));
  });

  test("where a map has a member that the schema does not name", () => {
    const known: number[] = [];
    const from = reader(encode({ other: { deep: [1, "x"] }, n: 5, more: null }));
    from.map("m", (key) => key === "n" && known.push(from.uint("n")) > 0);
    from.end("m");
    expect(known).toEqual([5]);
  });
});

test("a member without a value is not written", () => {
  expect(
    toHex(
      packMap([
        ["a", undefined],
        ["b", packUint(1)],
      ]),
    ),
  ).toBe("81a16201");
});
