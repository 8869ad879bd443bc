/** The memory list for the firmware: each bound of the witness, and ranges that touch, overlap, or lie at the hole below 4 GiB. */
import { describe, expect, test } from "vitest";
import { buildTdHob, encodeHobWitness, parseHobWitness } from "../../kms/attestation/image/td-hob.ts";
import { fromHex, toHex } from "../../kms/bytes.ts";

const MiB = 1n << 20n;
const GiB = 1n << 30n;
type Resource = readonly [type: "accepted" | "unaccepted", start: bigint, length: bigint];

const range = (start: bigint, end: bigint) => ({ start, end });
const parse = (hex: string) => parseHobWitness(fromHex(hex, "witness"));

/** The descriptors behind the first HOB, each of 48 bytes. */
function resourcesOf(hob: Uint8Array): Resource[] {
  const view = new DataView(hob.buffer, hob.byteOffset, hob.length);
  return Array.from({ length: (hob.length - 56) / 48 }, (_, index) => {
    const at = 56 + 48 * index;
    const type = view.getUint8(at + 24) === 0 ? "accepted" : "unaccepted";
    return [type, view.getBigUint64(at + 32, true), view.getBigUint64(at + 40, true)];
  });
}

describe("a witness is refused", () => {
  const page51 = `${"80".repeat(7)}04`; // 2^51
  test.each([
    ["that ends before its first number", "", /base: ends early/],
    ["that ends within a number", "80", /base: ends early/],
    ["that ends before the last length", "000001" + "05", /length: ends early/],
    ["with a byte too many", "00000000", /1 bytes too many/],
    ["with a number in a longer form", "8000", /base: not in its shortest form/],
    ["with a number of eleven bytes", `${"80".repeat(10)}01`, /base: need at most 10 bytes/],
    ["with more ranges than there can be", "000041", /count: need at most 64, have 65/],
    ["with its list at 64 bits", `00${"80".repeat(7)}0800`, /address over 64 bits/],
    ["with a range that ends at 64 bits, its list below", `000001${page51}${page51}`, /address over 64 bits/],
    ["with a first page beyond 64 bits", `${"ff".repeat(9)}010000`, /address over 64 bits/],
  ])("%s", (_name, hex, message) => {
    expect(() => parse(hex)).toThrow(
      expect.objectContaining({ code: "malformed.vm-config", message: expect.stringMatching(message) }),
    );
  });
});

describe("a witness is taken", () => {
  test("with numbers of one byte and of two, counted from its first page", () => {
    const witness = { hobAddress: 0x80_000n, accepted: [range(0x80_000n, 0x100_000n), range(0x17f_000n, 0x180_000n)] };
    const hex = "8001" + "00" + "02" + "00" + "8001" + "ff01" + "01";
    expect(parse(hex)).toEqual(witness);
    expect(toHex(encodeHobWitness(witness))).toBe(hex);
  });

  test("with as many ranges as there can be, by reader and writer", () => {
    const accepted = Array.from({ length: 64 }, (_, index) => range(BigInt(index) << 13n, (BigInt(index) << 13n) + 4096n));
    expect(parseHobWitness(encodeHobWitness({ hobAddress: 0n, accepted })).accepted).toEqual(accepted);
  });

  test("with the last page of 64 bits", () => {
    const hobAddress = (1n << 64n) - 4096n;
    const accepted = [range(hobAddress - 4096n, hobAddress)];
    expect(parseHobWitness(encodeHobWitness({ hobAddress, accepted }))).toEqual({ hobAddress, accepted });
  });

  test("without ranges, which leaves the place of the list", () => {
    expect(toHex(encodeHobWitness({ hobAddress: 0x809000n, accepted: [] }))).toBe("89100000");
    expect(parse("89100000")).toEqual({ hobAddress: 0x809000n, accepted: [] });
  });
});

describe("the list of memory has", () => {
  const cases: [string, [bigint, bigint][], bigint, Resource[]][] = [
    ["all of it, where nothing is accepted", [], GiB, [["unaccepted", 0n, GiB]]],
    [
      "what lies before and behind an accepted range",
      [[MiB, 2n * MiB]],
      GiB,
      [
        ["unaccepted", 0n, MiB],
        ["accepted", MiB, MiB],
        ["unaccepted", 2n * MiB, GiB - 2n * MiB],
      ],
    ],
    [
      "no empty piece before a range at the start, nor between ranges that touch",
      [
        [MiB, 2n * MiB],
        [0n, MiB],
      ],
      GiB,
      [
        ["accepted", 0n, MiB],
        ["accepted", MiB, MiB],
        ["unaccepted", 2n * MiB, GiB - 2n * MiB],
      ],
    ],
    ["no accepted range that is empty", [[MiB, MiB]], GiB, [["unaccepted", 0n, GiB]]],
    ["no accepted range that ends before it begins", [[2n * MiB, MiB]], GiB, [["unaccepted", 0n, GiB]]],
    [
      "accepted ranges as they are, where one lies over another",
      [
        [MiB, 4n * MiB],
        [2n * MiB, 3n * MiB],
      ],
      GiB,
      [
        ["unaccepted", 0n, MiB],
        ["accepted", MiB, 3n * MiB],
        ["accepted", 2n * MiB, MiB],
        ["unaccepted", 4n * MiB, GiB - 4n * MiB],
      ],
    ],
    [
      "accepted ranges of one place in the order of the witness",
      [
        [MiB, 4n * MiB],
        [MiB, 2n * MiB],
      ],
      GiB,
      [
        ["unaccepted", 0n, MiB],
        ["accepted", MiB, 3n * MiB],
        ["accepted", MiB, MiB],
        ["unaccepted", 4n * MiB, GiB - 4n * MiB],
      ],
    ],
    [
      "its last range as unaccepted, even when the firmware has accepted it",
      [[MiB, GiB]],
      GiB,
      [
        ["unaccepted", 0n, MiB],
        ["unaccepted", MiB, GiB - MiB],
      ],
    ],
    ["no hole just below 2.75 GiB", [], 0xb0000000n - 4096n, [["unaccepted", 0n, 0xb0000000n - 4096n]]],
    [
      "a hole from 2.75 GiB on",
      [],
      0xb0000000n,
      [
        ["unaccepted", 0n, 2n * GiB],
        ["unaccepted", 4n * GiB, 0x30000000n],
      ],
    ],
    [
      "nothing before the hole, when its last range begins there",
      [[0n, 2n * GiB]],
      3n * GiB,
      [
        ["accepted", 0n, 2n * GiB],
        ["unaccepted", 4n * GiB, GiB],
      ],
    ],
    [
      "nothing behind the hole, when its last range ends there",
      [
        [0n, 3n * GiB],
        [GiB, 2n * GiB],
      ],
      3n * GiB,
      [
        ["accepted", 0n, 3n * GiB],
        ["unaccepted", GiB, GiB],
      ],
    ],
  ];
  test.each(cases)("%s", (_name, accepted, memorySize, resources) => {
    const witness = { hobAddress: 0n, accepted: accepted.map(([start, end]) => range(start, end)) };
    expect(resourcesOf(buildTdHob(witness, memorySize))).toEqual(resources);
  });
});
