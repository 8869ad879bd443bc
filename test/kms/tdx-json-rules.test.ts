/** The signed JSON objects of Intel, one fault each: members, types, ranges, statuses, and texts that are an attack on a reader. */
import { describe, expect, test } from "vitest";
import { cutMembers, parseJson } from "../../kms/attestation/tdx/json-text.ts";
import { parseQeIdentity } from "../../kms/attestation/tdx/qe-identity.ts";
import { parseTcbInfo } from "../../kms/attestation/tdx/tcb-info.ts";
import { readCollateral } from "../support/tdx-samples.ts";

const { tcbInfo, qeIdentity } = readCollateral("collateral-b0c06f-2025-06.json");
const sgx = readCollateral("collateral-sgx-00a067110000-2025-06.json");
const refused = expect.objectContaining({ code: "malformed.collateral" });

const parsers = { "TCB info": parseTcbInfo, "QE identity": parseQeIdentity } as const;
const texts = { "TCB info": tcbInfo, "QE identity": qeIdentity } as const;
type Kind = keyof typeof parsers;
const kinds: readonly Kind[] = ["TCB info", "QE identity"];

function membersOf(kind: Kind): string[] {
  return Object.keys(JSON.parse(texts[kind])).filter((name) => !name.startsWith("tdxModule"));
}

const members = kinds.flatMap((kind) => membersOf(kind).map((name) => ({ kind, name })));

function without(kind: Kind, name: string, value?: unknown): string {
  return JSON.stringify({ ...JSON.parse(texts[kind]), [name]: value });
}

describe("a member", () => {
  test.each(members)("$name of the $kind is needed, once, and of its type", ({ kind, name }) => {
    const parse = parsers[kind];
    expect(() => parse(texts[kind])).not.toThrow();
    expect(() => parse(without(kind, name))).toThrow(refused);
    for (const value of [null, true, {}, [[]]]) expect(() => parse(without(kind, name, value))).toThrow(refused);
    const own = JSON.stringify(JSON.parse(texts[kind])[name]);
    expect(() => parse(texts[kind].replace("{", `{"${name}":${own},`))).toThrow(refused);
  });

  test.each(kinds)("that nobody knows is ignored in the %s, but not twice", (kind) => {
    expect(() => parsers[kind](texts[kind].replace("{", '{"a":{"b":[1.5,-1e9,null,"\\u0000"]},'))).not.toThrow();
    expect(() => parsers[kind](texts[kind].replace("{", '{"a":{"b":1,"b":1},'))).toThrow(refused);
    expect(() => parsers[kind](texts[kind].replace("{", '{"a":1,"\\u0061":1,'))).toThrow(refused);
  });
});

/** Replaces the first text that fits; the sample holds it. */
function changed(text: string, from: string | RegExp, to: string): string {
  expect(text).toMatch(from);
  return text.replace(from, to);
}

const svnOf = (value: string) => changed(tcbInfo, /"svn":\d+/, `"svn":${value}`);
const moduleSvn = (value: string) => changed(tcbInfo, /"isvsvn":\d+/, `"isvsvn":${value}`);
const pceSvn = (value: string) => changed(tcbInfo, /"pcesvn":\d+/, `"pcesvn":${value}`);
const versionOf = (value: string) => changed(tcbInfo, /"version":\d+/, `"version":${value}`);
const evaluation = (value: string) => changed(tcbInfo, /"tcbEvaluationDataNumber":\d+/, `"tcbEvaluationDataNumber":${value}`);
const qeSvn = (value: string) => changed(qeIdentity, /"isvsvn":\d+/, `"isvsvn":${value}`);
const product = (value: string) => changed(qeIdentity, /"isvprodid":\d+/, `"isvprodid":${value}`);

const ranges: readonly (readonly [string, (value: string) => string, Kind, number])[] = [
  ["an SVN", svnOf, "TCB info", 0xff],
  ["an SVN of a module", moduleSvn, "TCB info", 0xff],
  ["a version", versionOf, "TCB info", 0xff],
  ["a PCE SVN", pceSvn, "TCB info", 0xffff],
  ["an evaluation number", evaluation, "TCB info", 0xffffffff],
  ["an SVN of a QE", qeSvn, "QE identity", 0xffff],
  ["a product id", product, "QE identity", 0xffff],
];

describe("the range of", () => {
  test.each(ranges)("%s", (_, write, kind, most) => {
    const parse = parsers[kind];
    for (const value of ["0", String(most)]) expect(() => parse(write(value))).not.toThrow();
    const outside = [String(most + 1), "-1", "-0.5", "1.0", "1e0", "1e999", "9".repeat(400), '"1"', "null", "[1]", "true"];
    for (const value of outside) expect(() => parse(write(value))).toThrow(refused);
    for (const value of ["NaN", "Infinity", "01", "+1", "0x1", ".5", "1.", "1e", "--1", ""]) {
      expect(() => parse(write(value))).toThrow(refused);
    }
  });
});

const level = JSON.parse(tcbInfo).tcbLevels[0];
const withLevel = (change: unknown) => JSON.stringify({ ...JSON.parse(tcbInfo), tcbLevels: [change] });
const withTcb = (change: Readonly<Record<string, unknown>>) => withLevel({ ...level, tcb: { ...level.tcb, ...change } });
const svns = (length: number) => Array.from({ length }, () => ({ svn: 1 }));

describe("a level", () => {
  test.each<[string, string]>([
    ["no status", withLevel({ ...level, tcbStatus: undefined })],
    ["an unknown status", withLevel({ ...level, tcbStatus: "Fine" })],
    ["a status in other letters", withLevel({ ...level, tcbStatus: "upToDate" })],
    ["no date", withLevel({ ...level, tcbDate: undefined })],
    ["advisories that are null", withLevel({ ...level, advisoryIDs: null })],
    ["an advisory that is a number", withLevel({ ...level, advisoryIDs: [1] })],
    ["1,025 advisories", withLevel({ ...level, advisoryIDs: new Array(1025).fill("A") })],
    ["no SGX components", withTcb({ sgxtcbcomponents: undefined })],
    ["SGX components that are no list", withTcb({ sgxtcbcomponents: { 0: 1 } })],
    ["17 SGX components", withTcb({ sgxtcbcomponents: svns(17) })],
    ["17 TDX components", withTcb({ tdxtcbcomponents: svns(17) })],
    ["a component that is a number", withTcb({ sgxtcbcomponents: [1] })],
    ["a component that is null", withTcb({ sgxtcbcomponents: [null] })],
    ["a component without SVN", withTcb({ sgxtcbcomponents: [{ category: "BIOS" }] })],
    ["the layout of version 2", withTcb({ sgxtcbcomponents: undefined, sgxtcbcomp01svn: 1, sgxtcbcomp02svn: 1 })],
    ["no TCB", withLevel({ ...level, tcb: undefined })],
  ])("with %s is refused", (_, text) => {
    expect(() => parseTcbInfo(text)).toThrow(refused);
  });

  test("reads lists that are absent as empty", () => {
    const [read] = parseTcbInfo(withLevel({ ...level, advisoryIDs: undefined })).tcbLevels;
    expect(read?.advisoryIDs).toEqual([]);
    expect(parseTcbInfo(withTcb({ tdxtcbcomponents: undefined })).tcbLevels[0]?.tcb.tdxtcbcomponents).toEqual([]);
    expect(parseTcbInfo(withTcb({ sgxtcbcomponents: svns(16) })).tcbLevels[0]?.tcb.sgxtcbcomponents).toEqual(
      new Array(16).fill(1),
    );
  });

  test("number 1,025 is one too many", () => {
    const many = (length: number) => JSON.stringify({ ...JSON.parse(tcbInfo), tcbLevels: new Array(length).fill(level) });
    expect(() => parseTcbInfo(many(1025))).toThrow(refused);
  });
});

describe("the module", () => {
  const base = JSON.parse(tcbInfo).tdxModule;
  const withModule = (change: unknown) => JSON.stringify({ ...JSON.parse(tcbInfo), tdxModule: change });

  test.each<[string, string]>([
    ["a short signer", withModule({ ...base, mrsigner: "00".repeat(47) })],
    ["a signer that is no hex", withModule({ ...base, mrsigner: "g".repeat(96) })],
    ["long attributes", withModule({ ...base, attributes: "00".repeat(9) })],
    ["no mask", withModule({ ...base, attributesMask: undefined })],
    ["null in its place", withModule(null)],
    ["an identity without levels", JSON.stringify({ ...JSON.parse(tcbInfo), tdxModuleIdentities: [{ id: "TDX_01", ...base }] })],
    ["identities that are null", JSON.stringify({ ...JSON.parse(tcbInfo), tdxModuleIdentities: null })],
    [
      "257 identities",
      JSON.stringify({ ...JSON.parse(tcbInfo), tdxModuleIdentities: new Array(257).fill({ id: "", ...base, tcbLevels: [] }) }),
    ],
  ])("with %s is refused", (_, text) => {
    expect(() => parseTcbInfo(text)).toThrow(refused);
  });

  test("is not needed to read the text, and SGX has none", () => {
    expect(parseTcbInfo(withModule(undefined)).tdxModule).toBeUndefined();
    const { id, tdxModule, tdxModuleIdentities } = parseTcbInfo(sgx.tcbInfo);
    expect([id, tdxModule, tdxModuleIdentities]).toEqual(["SGX", undefined, []]);
  });
});

describe("the QE identity", () => {
  test.each([
    ["a short MISCSELECT", "miscselect", "000000"],
    ["a long MISCSELECT mask", "miscselectMask", "FFFFFFFFFF"],
    ["short attributes", "attributes", "11".repeat(15)],
    ["a long mask", "attributesMask", "FF".repeat(17)],
    ["a short signer", "mrsigner", "00".repeat(31)],
  ])("with %s is refused", (_, name, value) => {
    expect(() => parseQeIdentity(without("QE identity", name, value))).toThrow(refused);
  });
});

describe("a text", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

  test.each<[string, string]>([
    ["nested 33 deep", nested(34)],
    ["nested a million deep", "[".repeat(1_000_000)],
    ["of objects nested a million deep", '{"a":'.repeat(1_000_000)],
    ["that ends within a string", '{"a":"b'],
    ["that ends in a backslash", '{"a":"\\'],
    ["with a comment", '{"a":1/**/}'],
    ["with another quote", "{'a':1}"],
    ["with a name without quotes", "{a:1}"],
    ["with a comma too many", '{"a":1,}'],
    ["with a comma too few", '{"a":1"b":2}'],
    ["with a colon too few", '{"a" 1}'],
    ["with a byte order mark", '\uFEFF{"a":1}'],
    ["with white space of another kind", '{\u00a0"a":1}'],
    ["with a word that is cut off", "tru"],
    ["with a word of another language", "undefined"],
    ["with a word of as many letters as true", "trux"],
    ["with a word of as many letters as false", '{"a":fatal}'],
    ["with a word of as many letters as null", "[nope]"],
    ["with an array that does not end", "[1"],
    ["with an object that does not end", '{"a":1'],
    ["with a member named __proto__", '{"__proto__":{"id":"TDX"}}'],
    ["with a control character in a string", '"\u001f"'],
    ["with an escape that is none", '"\\u12G4"'],
  ])("%s is refused", (_, text) => {
    expect(() => parseJson(text, "test")).toThrow(refused);
  });

  test("may be nested 32 deep, hold every white space, and name its members as it likes", () => {
    expect(() => parseJson(nested(33), "test")).not.toThrow();
    expect(parseJson(' \t\r\n{ "constructor" : null , "toString":[ true , false ] } ', "test")).toEqual({
      constructor: null,
      toString: [true, false],
    });
    expect(parseJson('"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"', "test")).toBe('"\\/\b\f\n\r\té');
  });

  test("gives its members as they stand, and is a whole object", () => {
    const members = cutMembers(' {"a" : [1, 2] ,"b":{ "c":"}" }}\n', "test");
    expect([...members]).toEqual([
      ["a", "[1, 2]"],
      ["b", '{ "c":"}" }'],
    ]);
    expect(cutMembers("{}", "test").size).toBe(0);
    for (const text of ['{"a":1}x', '{"a":1}{}', "[1]", '"a"', "", '{"a":1,"a":1}', `{"a":${nested(33)}}`]) {
      expect(() => cutMembers(text, "test")).toThrow(refused);
    }
    expect(cutMembers(`{"a":${nested(32)}}`, "test").size).toBe(1);
  });

  test("has up to 1024 members in an object, in each one anew, and as many items in an array as it likes", () => {
    const members = (count: number) => Array.from({ length: count }, (_, index) => `"${index}":0`).join();
    const full = `{${members(1024)}}`;
    const over = `{${members(1025)}}`;
    expect(Object.keys(parseJson(full, "test") as object)).toHaveLength(1024);
    expect(parseJson(`[${full},${full}]`, "test")).toHaveLength(2);
    expect(cutMembers(`{"a":${full},"b":${full}}`, "test").size).toBe(2);
    expect(cutMembers(full, "test").size).toBe(1024);
    expect(parseJson(`[${"0,".repeat(1024)}0]`, "test")).toHaveLength(1025);
    for (const text of [over, `[${over}]`, `{"a":${over}}`]) {
      expect(() => parseJson(text, "test")).toThrow(refused);
      expect(() => cutMembers(text, "test")).toThrow(refused);
    }
  });

  test("has numbers of up to fifteen characters, and none that are cut", () => {
    expect(parseJson("[999999999999999,-99999999999999,0,-0]", "test")).toEqual([999999999999999, -99999999999999, 0, -0]);
    expect(parseJson("[1000000000000000,1e5,1E+5,0.0]", "test")).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
  });

  test("of more than a million characters is not read", () => {
    const padded = (length: number) => tcbInfo + " ".repeat(length - tcbInfo.length);
    expect(() => parseTcbInfo(padded(1024 * 1024))).not.toThrow();
    expect(() => parseTcbInfo(padded(1024 * 1024 + 1))).toThrow(refused);
  });
});

describe("a date", () => {
  const issued = (text: string) => () => parseTcbInfo(changed(tcbInfo, /"issueDate":"[^"]*"/, `"issueDate":"${text}"`)).issueDate;

  test.each(["2025-06-19T10:16:03Z", "2025-06-19T12:16:03+02:00", "2025-06-19T10:16:03.999999999Z"])("%s is read", (text) => {
    expect(issued(text)()).toBe(1750328163);
  });

  test.each([
    "2025-06-19",
    "2025-06-19 10:16:03Z",
    "2025-06-19T10:16:03",
    "2025-06-31T10:16:03Z",
    "2025-13-01T10:16:03Z",
    "2025-06-19T24:00:00Z",
    "2025-06-19T10:60:03Z",
    "2025-06-19T10:16:60Z",
    "2025-06-19T10:16:03+24:00",
    "2025-06-19T10:16:03+00:60",
    "2025-06-19T10:16:03.Z",
    "x2025-06-19T10:16:03Z",
    "2025-06-19T10:16:03Zx",
    "2025-06-19T25:16:03Z",
    "20250619T101603Z",
    "1750328163",
  ])("%s is refused", (text) => {
    expect(issued(text)).toThrow(refused);
  });
});
