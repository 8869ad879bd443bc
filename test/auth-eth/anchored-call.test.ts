/** The program that reads a block and a contract in one eth_call, on a real EVM, and the decoder of its answer. */
import fc from "fast-check";
import type { Hex } from "viem";
import { expect, test } from "vitest";
import { anchoredProgram, decodeAnchored } from "../../auth-eth/anchored-call.ts";
import { oddApps, startChain } from "./support/chain.ts";

const word = (value: bigint): string => value.toString(16).padStart(64, "0");

test("answers what the calls answer, the block it ran in, and nothing for a revert", async () => {
  const chain = await startChain();
  const { address } = chain.kmsAuth;
  const calls: Hex[] = ["0x95f51931", "0xffffffff", "0x25a992da", "0x09177063"];
  const run = async (contract: Hex): Promise<Hex> =>
    (await chain.rpc("eth_call", [{ data: anchoredProgram(contract, calls), gas: "0x1000000" }, "latest"])) as Hex;
  const direct = await Promise.all(
    calls.map((data) => chain.rpc("eth_call", [{ to: address, data }, "latest"]).catch(() => undefined)),
  );
  const head = (await chain.rpc("eth_getBlockByNumber", ["latest", false])) as Record<"number" | "parentHash" | "timestamp", Hex>;
  const { results, codeSize, ...anchor } = decodeAnchored(await run(address), calls.length);
  expect(results).toEqual(direct);
  expect(results[1]).toBeUndefined();
  const { parentHash } = head;
  expect(anchor).toEqual({ number: BigInt(head.number), parentHash, timestamp: BigInt(head.timestamp), chainId: 31_337n });
  const code = (await chain.rpc("eth_getCode", [address, "latest"])) as Hex;
  expect(codeSize).toBe(BigInt(code.length / 2 - 1));
  const absent = decodeAnchored(await run(oddApps.withoutCode.address), calls.length);
  expect(absent).toMatchObject({ codeSize: 0n, results: ["0x", "0x", "0x", "0x"] });
  await chain.close();
});

test("reads back any answers and refuses every other length", () => {
  const results = fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 4 });
  fc.assert(
    fc.property(results, fc.integer({ min: -40, max: 40 }), (given, change) => {
      const hex = given.map((bytes) => Buffer.from(bytes).toString("hex"));
      const body = hex.map((text) => word(1n) + word(BigInt(text.length / 2)) + text).join("");
      const text = [1n, 2n, 3n, 4n, 5n].map(word).join("") + body;
      expect(decodeAnchored(`0x${text}`, given.length).results).toEqual(hex.map((each) => `0x${each}`));
      if (change === 0) return;
      const other = change < 0 ? text.slice(0, 2 * change) : text + "00".repeat(change);
      expect(() => decodeAnchored(`0x${other}`, given.length)).toThrow(RangeError);
    }),
  );
  expect(() => decodeAnchored(`0x${"00".repeat(24_577)}`, 1)).toThrow(RangeError);
  expect(() => decodeAnchored(`0x${word(1n).repeat(6)}${"f".repeat(64)}`, 1)).toThrow(RangeError);
});
