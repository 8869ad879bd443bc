/** The webhook's own call data and answers beside those of a full ABI library, for any request and any answer. */
import fc from "fast-check";
import { decodeFunctionResult, encodeFunctionData, encodeFunctionResult, getAddress, type Hex, parseAbi } from "viem";
import { expect, test } from "vitest";
import type { AppBootInfo } from "../../auth-eth/boot-info.ts";
import {
  addressOf,
  appImplementationCall,
  checksummed,
  gatewayAppIdCall,
  kmsInfoCall,
  kmsInfoOf,
  policyCall,
  textOf,
  verdictOf,
} from "../../auth-eth/kms-auth-abi.ts";

const abi = parseAbi([
  "struct AppBootInfo { address appId; bytes32 composeHash; address instanceId; bytes32 deviceId; bytes32 mrAggregated; bytes32 mrSystem; bytes32 osImageHash; string tcbStatus; string[] advisoryIds; }",
  "function isAppAllowed(AppBootInfo bootInfo) view returns (bool isAllowed, string reason)",
  "function isKmsAllowed(AppBootInfo bootInfo) view returns (bool isAllowed, string reason)",
  "function gatewayAppId() view returns (string)",
  "function appImplementation() view returns (address)",
  "function kmsInfo() view returns (bytes k256Pubkey, bytes caPubkey, bytes quote, bytes eventlog)",
]);
const hex = (bytes: number): fc.Arbitrary<Hex> =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((value): Hex => `0x${Buffer.from(value).toString("hex")}`);
const anyBytes = fc.uint8Array({ maxLength: 100 }).map((value): Hex => `0x${Buffer.from(value).toString("hex")}`);
const text = fc.string({ unit: "binary", maxLength: 70 });
const boots: fc.Arbitrary<AppBootInfo> = fc.record({
  appId: hex(20),
  composeHash: hex(32),
  instanceId: hex(20),
  deviceId: hex(32),
  mrAggregated: hex(32),
  mrSystem: hex(32),
  osImageHash: hex(32),
  tcbStatus: text,
  advisoryIds: fc.array(text, { maxLength: 5 }),
});
/** The library drops zero bytes before a text, and a byte order mark. */
const plain = text.filter((value) => !/^[\0\ufeff]/.test(value));

test("asks what the library would ask", () => {
  for (const functionName of ["isAppAllowed", "isKmsAllowed"] as const)
    fc.assert(
      fc.property(boots, (boot) => {
        expect(policyCall(functionName, boot)).toBe(encodeFunctionData({ abi, functionName, args: [boot] }));
      }),
    );
  expect([gatewayAppIdCall, appImplementationCall, kmsInfoCall]).toEqual(
    (["gatewayAppId", "appImplementation", "kmsInfo"] as const).map((functionName) => encodeFunctionData({ abi, functionName })),
  );
});

test("reads what contracts answer", () => {
  fc.assert(
    fc.property(fc.boolean(), plain, hex(20), anyBytes, anyBytes, (allows, reason, address, one, two) => {
      expect(verdictOf(encodeFunctionResult({ abi, functionName: "isAppAllowed", result: [allows, reason] }))).toEqual({
        allows,
        reason,
      });
      expect(textOf(encodeFunctionResult({ abi, functionName: "gatewayAppId", result: reason }))).toBe(reason);
      expect(addressOf(encodeFunctionResult({ abi, functionName: "appImplementation", result: address }))).toBe(
        getAddress(address),
      );
      expect(checksummed(address)).toBe(getAddress(address));
      const info = encodeFunctionResult({ abi, functionName: "kmsInfo", result: [one, two, "0x", "0x1234"] });
      expect(kmsInfoOf(info)).toEqual({ k256Pubkey: one.slice(2), caPubkey: two.slice(2) });
    }),
  );
});

test("never allows what the library does not, whatever the answer is", () => {
  const good = encodeFunctionResult({ abi, functionName: "isKmsAllowed", result: [true, "because"] });
  const library = (data: Hex): boolean => decodeFunctionResult({ abi, functionName: "isKmsAllowed", data })[0];
  const attempt = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch {
      return undefined;
    }
  };
  const changes = fc.array(fc.tuple(fc.nat({ max: good.length / 2 - 2 }), fc.nat({ max: 255 })), { maxLength: 3 });
  fc.assert(
    fc.property(changes, fc.integer({ min: -70, max: 40 }), (edits, change) => {
      const bytes = Buffer.from(good.slice(2), "hex");
      for (const [at, value] of edits) bytes[at] = value;
      const sized = change < 0 ? bytes.subarray(0, change) : Buffer.concat([bytes, Buffer.alloc(change)]);
      const data: Hex = `0x${sized.toString("hex")}`;
      const ours = attempt(() => verdictOf(data));
      if (ours !== undefined) expect(ours.allows).toBe(attempt(() => library(data)));
    }),
    { numRuns: 2_000 },
  );
});

test.each<[what: string, data: string]>([
  ["nothing", ""],
  ["zeros", "00".repeat(32)],
  ["a truth value of two", `${"2".padStart(64, "0")}${"40".padStart(64, "0")}${"".padStart(64, "0")}`],
  ["a text that begins behind the end", `${"1".padStart(64, "0")}${"60".padStart(64, "0")}${"".padStart(64, "0")}`],
  ["a text that ends behind the end", `${"1".padStart(64, "0")}${"40".padStart(64, "0")}${"1".padStart(64, "0")}`],
  ["a text at a place beyond numbers", `${"1".padStart(64, "0")}${"f".repeat(64)}`],
  ["a text of a length beyond numbers", `${"1".padStart(64, "0")}${"40".padStart(64, "0")}${"f".repeat(64)}`],
])("refuses %s as a verdict", (_what, data) => {
  expect(() => verdictOf(`0x${data}`)).toThrow(RangeError);
});

test("refuses an address that is more than one", () => {
  expect(() => addressOf(`0x01${"00".repeat(31)}`)).toThrow(RangeError);
});
