/** Appraisal: which VM configuration counts, and what of it is refused. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { appraiseBoot } from "../../kms/attestation/appraise.ts";
import { parseVmConfig } from "../../kms/attestation/image/vm-config.ts";
import { toHex } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { liteAttestation, quoteReport, verifyReal } from "../support/real-evidence.ts";

const runtime = { mode: "runtime" } as const;

describe("the VM configuration", () => {
  const embedded = verifyReal(liteAttestation());
  const bare = verifyReal(quoteReport());

  test("inside the evidence counts when the request has none", () => {
    const boot = appraiseBoot(embedded, { ...runtime, vmConfig: "" });
    expect(toHex(boot.info.osImageHash)).toBe("e6f5cfec20c02e7b97baa213d0f718020b55e040172d90ccbcb946d56c8b09db");
    expect(boot.vmConfig.tdxAttestationVariant).toBe("lite");
  });

  test("of the request comes first", () => {
    const vmConfig = JSON.stringify({ os_image_hash: "ab".repeat(32) });
    expect(toHex(appraiseBoot(embedded, { ...runtime, vmConfig }).info.osImageHash)).toBe("ab".repeat(32));
  });

  test("is all defaults when nobody gives one", () => {
    const boot = appraiseBoot(bare, { ...runtime, vmConfig: "" });
    expect(boot.info.osImageHash).toEqual(new Uint8Array(0));
    expect(boot.vmConfig).toEqual({
      osImageHash: new Uint8Array(0),
      cpuCount: 0,
      memorySize: 0,
      pciHole64Size: 0,
      hugepages: false,
      numGpus: 0,
      numNvswitches: 0,
      numNics: 1,
      numVerityVolumes: 0,
      swtpm: false,
      hotplugOff: false,
      hostShareMode: "",
      tdxAttestationVariant: "legacy",
    });
  });

  test("of a real capture is read with members that nobody knows", () => {
    const boot = appraiseBoot(bare, { ...runtime, vmConfig: quoteReport().vmConfig });
    expect(boot.vmConfig).toMatchObject({ cpuCount: 16, memorySize: 68719476736, numGpus: 1, qemuVersion: "9.2.1" });
  });
});

describe("a VM configuration is refused:", () => {
  test.each([
    ["no JSON", "{"],
    ["a list", "[]"],
    ["null", "null"],
    ["text for a number", '{"cpu_count":"2"}'],
    ["a fraction", '{"memory_size":1.5}'],
    ["a negative number", '{"memory_size":-1}'],
    ["a number that JSON cannot carry", '{"memory_size":9007199254740993}'],
    ["a member twice", '{"os_image_hash":"","os_image_hash":""}'],
    ["a member twice, once in another spelling", String.raw`{"cpu_count":1,"cpu_\u0063ount":2}`],
    ["NaN", '{"cpu_count":NaN}'],
    ["a huge number that nobody reads", '{"more":1e400}'],
    ["deep nesting", "[".repeat(100_000)],
    ["a lone surrogate", '{"image":"\\ud800"}'],
    ["null for a plain value", '{"os_image_hash":null}'],
    ["a hash that is no hex", '{"os_image_hash":"0xab"}'],
    ["an unknown attestation variant", '{"tdx_attestation_variant":"full"}'],
    ["an unknown firmware variant", '{"ovmf_variant":"other"}'],
    ["base64 with stray bits", '{"tdx_measurement":{"checksum_file":"YR==","measurement":""}}'],
    ["base64 without padding", '{"tdx_measurement":{"checksum_file":"YQ","measurement":""}}'],
    ["half a measurement", '{"tdx_measurement":{"checksum_file":""}}'],
  ])("%s", (_name, text) => {
    expect(() => parseVmConfig(text)).toThrow(
      expect.objectContaining({ code: "malformed.vm-config", message: "Failed to parse vm config" }),
    );
  });

  test("an image hash that is neither 32 bytes nor empty", () => {
    const text = JSON.stringify({ os_image_hash: "ab".repeat(31) });
    expect(() => parseVmConfig(text)).toThrow(expect.objectContaining({ code: "malformed.length" }));
  });

  test("any text is a configuration or a refusal with a code of its own", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        try {
          parseVmConfig(text);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(KmsError);
        }
      }),
    );
  });
});

describe("what was appraised for evidence that is kept", () => {
  const evidence = verifyReal(liteAttestation());
  const ask = (vmConfig: string, mode: "runtime" | "boottime" = "runtime") => appraiseBoot(evidence, { vmConfig, mode });

  test("is the same for the same question, and made anew for any other", () => {
    const first = ask("");
    expect(ask("")).toBe(first);
    expect(ask("", "boottime")).not.toBe(first);
    expect(ask("", "boottime").info.mrAggregated).toBeDefined();
    expect(ask('{"os_image_hash":""}').info.osImageHash).not.toEqual(first.info.osImageHash);
    expect(ask("").info).toEqual(first.info);
    expect(appraiseBoot(verifyReal(liteAttestation()), { vmConfig: "", mode: "runtime" })).not.toBe(first);
  });

  test("is not held when its configuration is long", () => {
    const long = `{"os_image_hash":"${"ab".repeat(32)}","note":"${"x".repeat(16 * 1024)}"}`;
    expect(ask(long)).not.toBe(ask(long));
    expect(ask(long).info).toEqual(ask(long).info);
  });
});
