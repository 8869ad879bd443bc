/** Calls between text and bytes: what an operator writes, what a report shows, and what is refused. */
import { encodeFunctionData, type Hex, parseAbi, toFunctionSelector } from "viem";
import { expect, test } from "vitest";
import { decodeCall, encodeCall } from "../../scripts/lib/solidity-call.ts";

const hash: Hex = `0x${"a7".repeat(32)}`;
const account = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const zero = "0x0000000000000000000000000000000000000000";

test.each<[string, string, readonly unknown[]]>([
  [`addOsImageHash(${hash})`, "addOsImageHash", [hash]],
  ["pause()", "pause", []],
  [`setQuoteVerifier(${zero})`, "setQuoteVerifier", [zero]],
  ['acceptTcbStatus("SWHardeningNeeded", 1801439999)', "acceptTcbStatus", ["SWHardeningNeeded", 1_801_439_999]],
  ['setGatewayAppId("a \\"b\\", (c)")', "setGatewayAppId", ['a "b", (c)']],
  ["setHardening(127)", "setHardening", [127]],
  [
    "setKmsInfo((0x02, 0x30, 0x, 0x5b5d))",
    "setKmsInfo",
    [{ k256Pubkey: "0x02", caPubkey: "0x30", quote: "0x", eventlog: "0x5b5d" }],
  ],
  ["multicall([0x8456cb59, 0x3f4ba83a])", "multicall", [["0x8456cb59", "0x3f4ba83a"]]],
  [`deployAndRegisterApp(${account}, true, false, ${hash}, ${hash})`, "deployAndRegisterApp", [account, true, false, hash, hash]],
  [`grantRole(3, ${account}, 0)`, "grantRole", [3, account, 0]],
])("reads and writes back %s", (text, name, args) => {
  const data = encodeCall(text);
  expect(decodeCall(data)).toEqual({ function: name, args, text, data });
});

test("takes what is not written in one way only", () => {
  const same = (one: string, other: string) => expect(encodeCall(one)).toBe(encodeCall(other));
  same("  pause ( ) ".replace("pause ", "pause"), "pause()");
  same("acceptTcbStatus(OutOfDate, 2027-01-31)", 'acceptTcbStatus("OutOfDate", 1801439999)');
  same(`grantRole(guardian, ${account.toLowerCase()}, 0)`, `grantRole(3, ${account}, 0)`);
});

test("calls of nobody's are shown by their selector", () => {
  const data = encodeFunctionData({ abi: parseAbi(["function blessAll()"]) });
  expect(decodeCall(data)).toEqual({
    function: null,
    args: [],
    text: `unknown function ${toFunctionSelector("blessAll()")}`,
    data,
  });
  expect(decodeCall("0x")).toMatchObject({ function: null });
});

test("text from the chain steers no terminal", () => {
  const abi = parseAbi(["function setGatewayAppId(string)"]);
  const data = encodeFunctionData({ abi, args: ["\u001b[2J\u202ea"] });
  expect(decodeCall(data).text).toBe('setGatewayAppId("\\u001b[2J\\u202ea")');
});

test.each([
  ["an unknown function", "addOsImage(0x00)", "unknown function addOsImage"],
  ["a view", `allowedOsImages(${hash})`, "unknown function allowedOsImages"],
  ["no arguments", "addOsImageHash()", "addOsImageHash: need 1 arguments, have 0"],
  ["a short hash", "addOsImageHash(0x1234)", "argument osImageHash: need 32 bytes of hex, have 2"],
  ["no hex", "addOsImageHash(image)", "argument osImageHash: need bytes32: hex with 0x"],
  ["a wrong checksum", `suspendApp(${account.replace("C8", "c8")})`, "argument appId: need an address"],
  ["an unknown role", `grantRole(boss, ${account}, 0)`, "unknown role boss"],
  ["a role of nobody's", `grantRole(9, ${account}, 0)`, "unknown role 9"],
  ["milliseconds", "acceptTcbStatus(OutOfDate, 1801439999000)", "until: need seconds, have 13 digits"],
  ["a day that is none", "acceptTcbStatus(OutOfDate, 2027-02-31)", "until: need a date of the calendar"],
  ["a number too large", `grantRole(1, ${account}, 4294967296)`, "argument executionDelay: need uint32 in decimal digits"],
  ["no truth value", "setAllowAnyDevice(yes)", "argument allowAny: need true or false"],
  ["no array", "multicall(0x00)", "argument data: need an array of bytes in brackets"],
  ["no tuple", "setKmsInfo(0x00)", "argument info: need a tuple in parentheses"],
  ["a form that none has", `deployAndRegisterApp(${account})`, "the arguments fit no form of deployAndRegisterApp"],
  ["an open parenthesis", "multicall([0x00)", "the call: need a comma or ] after argument 1"],
  ["a comma too many", "multicall([0x00,])", "the call: an argument is missing before ]"],
  ["two calls", "pause() unpause()", "the call: there is more after the closing parenthesis"],
  ["a signature", "pause", "the call: need NAME(ARGUMENTS)"],
  ["a deep nest", `multicall(${"[".repeat(12)}${"]".repeat(12)})`, "the call: the arguments are nested too deeply"],
])("refuses %s", (_name, text, message) => {
  expect(() => encodeCall(text)).toThrowError(
    expect.objectContaining({ code: "malformed.usage", message: expect.stringContaining(message) }),
  );
});
