/** VM configurations as texts: which one counts, how long one may be, and that a text read twice says the same. */
import { describe, expect, test } from "vitest";
import {
  chooseVmConfig,
  embeddedVmConfig,
  MAX_VM_CONFIG_CHARACTERS,
  parseVmConfig,
} from "../../kms/attestation/image/vm-config.ts";

const malformed = expect.objectContaining({ code: "malformed.vm-config", message: "Failed to parse vm config" });
const config = '{"cpu_count":3}';
const system = (vmConfig: unknown) => JSON.stringify({ vm_config: vmConfig, more: 1 });

test.each<[string, string, string]>([
  [config, '{"cpu_count":5}', config],
  ["", config, config],
  ["", "", "{}"],
])("of the request's %j and the evidence's %j counts %j", (requested, embedded, chosen) => {
  expect(chooseVmConfig(requested, embedded)).toBe(chosen);
});

test.each<[string, string, string]>([
  ["the text itself", config, config],
  ["the text within a system configuration", system(config), config],
  ["an empty text within one", system(""), "{}"],
  ["nothing", "", "{}"],
  ["an object that only looks like one", system({ cpu_count: 3 }), system({ cpu_count: 3 })],
])("a stack's configuration may be %s", (_what, text, embedded) => {
  expect(embeddedVmConfig(text)).toBe(embedded);
});

describe("a text", () => {
  test.each(["{", "[]", "null", "1", '"{}"', '{"cpu_count":"3"}', '{"cpu_count":1,"cpu_count":1}', `${config}x`])(
    "%j is refused",
    (text) => expect(() => parseVmConfig(text)).toThrow(malformed),
  );

  test("is read up to the limit and refused beyond it, also within a system configuration", () => {
    const full = config.padEnd(MAX_VM_CONFIG_CHARACTERS);
    expect(parseVmConfig(full).cpuCount).toBe(3);
    expect(embeddedVmConfig(full)).toBe(full);
    expect(() => parseVmConfig(`${full} `)).toThrow(malformed);
    expect(() => embeddedVmConfig(`${full} `)).toThrow(malformed);
  });

  test("is remembered while it is short, and read anew when it is long", () => {
    const limit = 16 * 1024;
    for (const [length, isKept] of [
      [config.length, true],
      [limit, true],
      [limit + 1, false],
    ] as const) {
      const text = config.padEnd(length);
      const [first, second] = [parseVmConfig(text), parseVmConfig(text)];
      expect(second).toEqual(first);
      expect(second === first).toBe(isKept);
    }
  });
});
