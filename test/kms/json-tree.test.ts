/** The strict JSON reader beside the engine's own: the same values where it accepts, and a place where it does not. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseJsonTree, plainValue } from "../../kms/attestation/json-tree.ts";
import { KmsError } from "../../kms/errors.ts";

const read = (text: string) => parseJsonTree(text, "text", "malformed.compose");

function refusal(text: string): string {
  try {
    read(text);
    return "accepted";
  } catch (thrown) {
    if (thrown instanceof KmsError && thrown.code === "malformed.compose") return thrown.message;
    throw thrown;
  }
}

describe("the reader", () => {
  test.each<[string, unknown]>([
    ["null", null],
    [" \t\r\ntrue ", true],
    ["false", false],
    ["-0.5e-1", -0.05],
    ["9007199254740991", 9007199254740991],
    ["-9007199254740991", -9007199254740991],
    ['""', ""],
    [String.raw`"\"\\\/\b\f\n\r\té😀"`, '"\\/\b\f\n\r\té😀'],
    ["[ ]", []],
    ["[1 , [2]]", [1, [2]]],
    ["{ }", {}],
    ['{"a" : {"b":1} , "":2}', { a: { b: 1 }, "": 2 }],
  ])("reads %s", (text, value) => expect(structuredClone(plainValue(read(text)))).toEqual(value));

  test("keeps members in order and numbers as they stand", () => {
    const node = read('{"b":1.0,"2":2,"1":1e2,"__proto__":3}');
    if (node.kind !== "object") throw new Error("not an object");
    expect([...node.members].map(([name, member]) => [name, member.kind === "number" ? member.literal : ""])).toEqual([
      ["b", "1.0"],
      ["2", "2"],
      ["1", "1e2"],
      ["__proto__", "3"],
    ]);
    expect(Object.keys(plainValue(node) as object)).toContain("__proto__");
  });

  test.each<[string, string]>([
    ["", "text: need a value at character 0"],
    ["tru", "text: need a value at character 0"],
    ["fals", "text: need a value at character 0"],
    ["nul", "text: need a value at character 0"],
    ["truex", "text: text after the value at character 4"],
    ["+1", "text: need a value at character 0"],
    [".5", "text: need a value at character 0"],
    ["1.", "text: text after the value at character 1"],
    ["01", "text: text after the value at character 1"],
    ["9007199254740992", "text: a number that readers do not agree on at character 0"],
    ["[9007199254740992.5]", "text: a number that readers do not agree on at character 1"],
    ["1e16", "text: a number that readers do not agree on at character 0"],
    ["1e400", "text: a number that readers do not agree on at character 0"],
    ["[1 2]", "text: need ] at character 3"],
    ["[1,]", "text: need a value at character 3"],
    ["[", "text: need a value at character 1"],
    ['{"a" 1}', "text: need : at character 5"],
    ['{"a":1 "b":2}', "text: need } at character 7"],
    ["{a:1}", "text: need a member name at character 1"],
    ['{"a":1,}', "text: need a member name at character 7"],
    ['{"a":1,"a":1}', 'text: member "a" is repeated at character 10'],
    ['"a', "text: string without end at character 2"],
    ['"\u001f"', "text: control character in a string at character 1"],
    ['"\\ud800"', "text: lone surrogate in a string at character 8"],
    ['"\ud800"', "text: lone surrogate in a string at character 3"],
    [String.raw`"\x"`, "text: bad escape in a string at character 4"],
    ['"\\\u001f"', "text: bad escape in a string at character 4"],
    [`${"[".repeat(34)}`, "text: nested deeper than 32 at character 33"],
  ])("refuses %j, and says where", (text, message) => expect(refusal(text)).toBe(message));

  test("reads what the engine reads, whatever the value", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(undefined, 1, "\t"), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        const message = refusal(text);
        if (message === "accepted") expect(JSON.stringify(plainValue(read(text)))).toBe(JSON.stringify(JSON.parse(text)));
        else expect(message).toMatch(/readers do not agree|lone surrogate/);
      }),
    );
  });

  test("reads nothing that the engine refuses", () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), fc.string({ maxLength: 2 }), (text, at, noise) => {
        const damaged = text.slice(0, at % (text.length + 1)) + noise + text.slice((at % (text.length + 1)) + 1);
        if (refusal(damaged) === "accepted") expect(() => JSON.parse(damaged)).not.toThrow();
      }),
    );
  });
});
