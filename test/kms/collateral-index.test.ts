/** The index of a collateral folder: bounds, and an order of ranks that cannot be talked down. */
import { describe, expect, test } from "vitest";
import {
  decodeIndex,
  emptyIndex,
  encodeIndex,
  MAX_CHAINS,
  MAX_CHAINS_OF_ONE,
  MAX_PARTS,
  withItem,
  withRoomFor,
} from "../../kms/attestation/tdx/collateral-index.ts";
import { digestOf, encodeItem, higher, type Item, isOlder } from "../../kms/attestation/tdx/collateral-items.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { pckChainOf } from "../../kms/attestation/tdx/verify.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";

const platform = simulatedPlatform();
const { tcbInfo, tcbSigningChain, tcbInfoSignature } = platform.collateral(new Date("2026-06-15T00:00:00Z"));
const chain = pckChainOf(parseQuote(simulatedTd({ platform }).quote(new Uint8Array(64)))).replace("\0", "");
const hexOf = (index: number, bytes: number) => index.toString(16).padStart(bytes * 2, "0");
const stored = (item: Item) => ({ item, digest: digestOf(encodeItem(item)) });

/** Not signed: the index takes what was verified before. */
const tcbOf = (index: number) =>
  stored({
    kind: "tcb-info",
    tee: "tdx",
    fmspc: hexOf(index, 6),
    text: tcbInfo.replace(/"fmspc":"[0-9A-Fa-f]*"/, `"fmspc":"${hexOf(index, 6)}"`),
    signature: tcbInfoSignature,
    issuerChain: tcbSigningChain,
  });
const chainOf = (index: number, from = chain) => stored({ kind: "pck-chain", machine: hexOf(index, 32), chain: from });
/** Of another machine each. */
const others = [1, 2, 3].map((byte) => {
  const other = simulatedPlatform({ ppid: new Uint8Array(16).fill(byte) });
  return pckChainOf(parseQuote(simulatedTd({ platform: other }).quote(new Uint8Array(64)))).replace("\0", "");
});

describe("an index", () => {
  test("is the same after writing and reading", () => {
    const index = withItem(withItem(emptyIndex, tcbOf(1)), chainOf(1));
    expect(decodeIndex(Buffer.from(encodeIndex(index)).toString())).toEqual(index);
  });

  test("takes no more parts than it may, and lets the machine that came first go", () => {
    let index = emptyIndex;
    for (let count = 0; count < MAX_PARTS; count += 1) index = withItem(index, tcbOf(count));
    for (let count = 0; count < MAX_CHAINS + 3; count += 1) index = withItem(index, chainOf(count));
    expect(index.files.size).toBe(MAX_PARTS + MAX_CHAINS);
    expect(index.files.has(`pck-chain ${hexOf(2, 32)}`)).toBe(false);
    expect(index.files.has(`pck-chain ${hexOf(3, 32)}`)).toBe(true);
    expect(() => withItem(index, tcbOf(MAX_PARTS))).toThrow(expect.objectContaining({ code: "unavailable.collateral" }));
    expect(withItem(index, tcbOf(5)).files.size).toBe(MAX_PARTS + MAX_CHAINS);
    const written = encodeIndex(index);
    expect(written.length).toBeLessThan(1024 * 1024);
    // when full it has no more members than the reader takes
    expect(decodeIndex(Buffer.from(written).toString())).toEqual(index);
  });

  test("reads a chain once to make room for those of several machines, each in place of its own", () => {
    const there = [...Array<string>(MAX_CHAINS_OF_ONE).fill(chain), ...others].map((each, at) => chainOf(at, each));
    const reads: string[] = [];
    const counted = there.map(({ item, digest }) => {
      const get = () => {
        reads.push(digest);
        return "chain" in item ? item.chain : "";
      };
      return { item: Object.defineProperty({ ...item }, "chain", { get }), digest };
    });
    const index = [...there, tcbOf(1)].reduce(withItem, emptyIndex);
    const names = [...index.files.keys()];
    const coming = [chain, ...others].map((each, at) => chainOf(100 + at, each).item);
    const room = withRoomFor(coming, index, new Map(counted.map((each, at) => [names[at] ?? "", each])));
    expect([...room.files.keys()]).toEqual(names.slice(1));
    expect(reads).toEqual(there.map(({ digest }) => digest));
  });

  test.each(["", "{", "[]", '{"format":"keyward-collateral-index","version":1}', '{"a":1,"a":1}'])("%j is none", (text) => {
    expect(() => decodeIndex(text)).toThrow(expect.objectContaining({ code: "malformed.collateral" }));
  });
});

describe("an index with one digit changed is none:", () => {
  const text = Buffer.from(encodeIndex(withItem(withItem(emptyIndex, tcbOf(1)), chainOf(1)))).toString();
  const places = [...text.matchAll(/[0-9]/g)].map(({ index }) => index);

  test(`each of ${places.length}`, () => {
    const taken = places.filter((at) => {
      const changed = `${text.slice(0, at)}${(Number(text[at]) + 1) % 10}${text.slice(at + 1)}`;
      try {
        decodeIndex(changed);
        return true;
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: "malformed.collateral" });
        return false;
      }
    });
    expect(taken).toEqual([]);
  });
});

describe("a rank", () => {
  const now = { number: "20", issued: 1_000 };
  test.each([
    ["the same", now, false],
    ["a higher number", { number: "21", issued: 1_000 }, false],
    ["a later date", { number: "20", issued: 1_001 }, false],
    ["a number with more digits", { number: "100", issued: 1_000 }, false],
    ["twenty bytes of CRL number", { number: `${2n ** 159n}`, issued: 1_000 }, false],
    ["a lower number", { number: "19", issued: 1_000 }, true],
    ["a number with fewer digits", { number: "3", issued: 1_000 }, true],
    ["an earlier date", { number: "20", issued: 999 }, true],
    ["a higher number of an earlier date", { number: "21", issued: 999 }, true],
    ["a lower number of a later date", { number: "19", issued: 1_001 }, true],
  ])("of %s", (_name, rank, older) => {
    expect(isOlder(rank, now)).toBe(older);
    expect(isOlder(rank, higher(rank, now))).toBe(older);
    expect(
      isOlder(now, higher(rank, now)) ||
        isOlder(rank, higher(rank, now)) ||
        (rank.number === now.number && rank.issued === now.issued),
    ).toBe(true);
  });
});
