/** The lite OS image check on the real document, its parts against published values, and each way to fail. */
import { createHash } from "node:crypto";
import { decode, encode } from "cborg";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AppraisedBoot, appraiseBoot } from "../../kms/attestation/appraise.ts";
import type { TdxEvent } from "../../kms/attestation/evidence.ts";
import { parseLiteDocument } from "../../kms/attestation/image/lite.ts";
import { createOsImageCheck } from "../../kms/attestation/image/os-image.ts";
import { isTwoPass } from "../../kms/attestation/image/qemu-version.ts";
import { sha384 } from "../../kms/attestation/image/registers.ts";
import { buildTdHob, parseHobWitness } from "../../kms/attestation/image/td-hob.ts";
import type { VmConfig } from "../../kms/attestation/image/vm-config.ts";
import { fromHex, toHex, utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { liteAttestation, quoteReport, verifyReal } from "../support/real-evidence.ts";

/** Without a disk: legacy configurations are told apart by what they are asked for. */
const measureOsImage = createOsImageCheck(async (_report, config) => {
  throw new KmsError("unavailable.os-image", `asked for ${toHex(config.osImageHash)}`);
});
const boot = appraiseBoot(verifyReal(liteAttestation()), { vmConfig: "", mode: "runtime" });
const material = boot.vmConfig.tdxMeasurement;
if (material === undefined) throw new Error("the fixture has a measurement document");

function withConfig(change: Partial<VmConfig>): AppraisedBoot {
  return { ...boot, vmConfig: { ...boot.vmConfig, ...change } } as unknown as AppraisedBoot;
}

function withEvents(change: (events: readonly TdxEvent[]) => readonly TdxEvent[]): AppraisedBoot {
  const { platform } = boot.evidence.evidence;
  const evidence = { ...boot.evidence.evidence, platform: { ...platform, eventLog: change(platform.eventLog) } };
  return { ...boot, evidence: { ...boot.evidence, evidence } } as unknown as AppraisedBoot;
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

/** A document of ours, with the checksum file and image hash that go with it. */
function withDocument(measurement: Uint8Array, line = `${toHex(sha256(measurement))}  measurement.tdx.cbor`): AppraisedBoot {
  const checksumFile = utf8(`${"00".repeat(32)}  ovmf.fd\n\n${line}\n`);
  return withConfig({ osImageHash: sha256(checksumFile), tdxMeasurement: { checksumFile, measurement } });
}

function changedDocument(change: (document: Record<string, Record<string, unknown>>) => void): AppraisedBoot {
  const document = decode(material?.measurement ?? new Uint8Array(0)) as Record<string, Record<string, unknown>>;
  change(document);
  return withDocument(encode(document));
}

const isAcpi = (event: TdxEvent): boolean => event.event.startsWith("acpi-");
const flipped = (bytes: Uint8Array): Uint8Array => bytes.map((byte, index) => (index === 0 ? byte ^ 1 : byte));

test("the image of a real lite guest is the one it claims", () => {
  expect(() => measureOsImage(boot)).not.toThrow();
  expect(() => measureOsImage(withEvents((events) => events.toReversed()))).not.toThrow();
  expect(() => measureOsImage(withDocument(material.measurement))).not.toThrow();
});

describe("is refused:", () => {
  test.each<[string, AppraisedBoot, string, string | RegExp]>([
    [
      "no document",
      appraiseBoot(boot.evidence, { vmConfig: '{"tdx_attestation_variant":"lite"}', mode: "runtime" }),
      "unproven.os-image",
      /^vm_config\.tdx_measurement is required/,
    ],
    [
      "another image hash",
      withConfig({ osImageHash: new Uint8Array(32) }),
      "unproven.os-image",
      /^os_image_hash mismatch: expected=0{64}/,
    ],
    ["no image hash", withConfig({ osImageHash: new Uint8Array(0) }), "unproven.os-image", /^os_image_hash mismatch/],
    [
      "a document that the image does not list",
      withDocument(material.measurement, `${"11".repeat(32)}  measurement.tdx.cbor`),
      "unproven.os-image",
      /^measurement\.tdx\.cbor mismatch/,
    ],
    ["an image without a document", withDocument(material.measurement, ""), "unproven.os-image", /have 0$/],
    [
      "an image with two",
      withDocument(material.measurement, `${"11".repeat(32)} measurement.tdx.cbor\n${"11".repeat(32)} measurement.tdx.cbor`),
      "unproven.os-image",
      /have 2$/,
    ],
    ["a line of one word", withDocument(material.measurement, "1111"), "malformed.vm-config", /names no file/],
    [
      "two events of ACPI",
      withEvents((events) => events.filter(({ event }) => event !== "acpi-rsdp")),
      "unproven.os-image",
      /need 3 ACPI/,
    ],
    [
      "ACPI events without their names",
      withEvents((events) => events.map((event) => (isAcpi(event) ? { ...event, event: "" } : event))),
      "unproven.os-image",
      /need one acpi-loader/,
    ],
    [
      "an ACPI event without its digest",
      withEvents((events) => events.map((event) => (isAcpi(event) ? { ...event, digest: new Uint8Array(32) } : event))),
      "unproven.os-image",
      /48 bytes, have 32/,
    ],
    [
      "another ACPI digest",
      withEvents((events) => events.map((event) => (isAcpi(event) ? { ...event, digest: flipped(event.digest) } : event))),
      "unproven.os-image",
      /^RTMR0 mismatch: expected=[0-9a-f]{96}, actual=[0-9a-f]{96}$/,
    ],
    ["the other order of pages", withConfig({ qemuVersion: "9.0.0" }), "unproven.os-image", /^MRTD mismatch: expected=/],
    ["another memory size", withConfig({ memorySize: 4294967296 }), "unproven.os-image", /^RTMR0 mismatch/],
    [
      "a memory size that the document cannot serve",
      withConfig({ memorySize: 2147483648 + 4096 }),
      "malformed.vm-config",
      /^memory_size/,
    ],
    [
      "another kernel",
      changedDocument(({ image }) => Object.assign(image ?? {}, { kernel_authenticode: new Uint8Array(48) })),
      "unproven.os-image",
      /^RTMR1 mismatch/,
    ],
    [
      "another command line",
      changedDocument(({ image }) => Object.assign(image ?? {}, { cmdline_sha384: new Uint8Array(48) })),
      "unproven.os-image",
      /^RTMR2 mismatch/,
    ],
    [
      "a digest of 47 bytes",
      changedDocument(({ image }) => Object.assign(image ?? {}, { initrd_sha384: new Uint8Array(47) })),
      "malformed.vm-config",
      /initrd_sha384: need 48/,
    ],
    [
      "another document version",
      changedDocument((document) => Object.assign(document, { version: 4 })),
      "malformed.vm-config",
      /version/,
    ],
    [
      "another firmware variant",
      changedDocument(({ tdvf }) => Object.assign(tdvf ?? {}, { ovmf: "other" })),
      "malformed.vm-config",
      /ovmf/,
    ],
    ["a document that is no CBOR", withDocument(utf8("{}")), "malformed.vm-config", /CBOR/],
    ["a document with a byte behind it", withDocument(Uint8Array.of(...material.measurement, 0)), "malformed.vm-config", /CBOR/],
  ])("%s", (_name, changed, code, message) => {
    expect(() => measureOsImage(changed)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  test("another platform than TDX", () => {
    const gcp = { ...boot, info: { ...boot.info, teeVariant: "dstack-gcp-tdx" } } as unknown as AppraisedBoot;
    expect(() => measureOsImage(gcp)).toThrow(expect.objectContaining({ code: "unproven.platform-unsupported" }));
  });
});

test("a legacy configuration is measured from its image, even when it carries a document", async () => {
  const legacy = appraiseBoot(verifyReal(quoteReport()), { vmConfig: quoteReport().vmConfig, mode: "runtime" });
  for (const one of [legacy, withConfig({ tdxAttestationVariant: "legacy" })]) {
    const message = `asked for ${toHex(one.vmConfig.osImageHash)}`;
    await expect(measureOsImage(one)).rejects.toMatchObject({ code: "unavailable.os-image", message });
  }
});

describe("the TD HOB", () => {
  const witness = parseHobWitness(fromHex("80100904000609020b021010", "witness"));

  test("witness names the ranges of today's firmware", () => {
    expect(witness.hobAddress).toBe(0x809000n);
    expect(witness.accepted.map(({ start, end }) => [start, end])).toEqual([
      [0x800000n, 0x806000n],
      [0x809000n, 0x80b000n],
      [0x80b000n, 0x80d000n],
      [0x810000n, 0x820000n],
    ]);
  });

  test.each([
    [2147483648n, 440, "0b8772e5b0b41b83e6044a68397e02f49fb47066b4fbe4917ea2c45c64f323fdacbb37948f821ebaf8bc9c938ba8a749"],
    [2952790016n, 488, "8eb1a02074362aa0761541cdb4dc3f1788dfeb4538803b241477848e26de294dbe917ab56c5628732679b3abc168c2de"],
    [4294967296n, 488, "5b684faf8d02a733945f821d9cdd170802e72103977acf66949c9382500283adc90cbec57f8e7653f8bee1cab83689de"],
    [68719476736n, 488, "8ae1e425351df7992c444586eff99d35af3b779aa2b0e981cb4b73bc5b279f2ade19b6a62a203fc3c3bbdaae80af596d"],
  ])("for %i bytes of memory has %i bytes and the published digest", (memorySize, length, digest) => {
    const hob = buildTdHob(witness, memorySize);
    expect([hob.length, toHex(sha384(hob))]).toEqual([length, digest]);
  });

  test.each([
    ["ends early", "8010"],
    ["has a byte too many", "80100904000609020b02101000"],
    ["has a longer form of a number", "8010090400060902" + "0b02108000"],
    ["names more ranges than there can be", "801009ff7f"],
    ["goes past 64 bits", "ffffffffffffffffff010900"],
    ["has a number of eleven bytes", "8080808080808080808080"],
  ])("witness that %s is refused", (_name, hex) => {
    expect(() => parseHobWitness(fromHex(hex, "witness"))).toThrow(expect.objectContaining({ code: "malformed.vm-config" }));
  });
});

describe("the order of pages", () => {
  test.each<[string | undefined, boolean | undefined, boolean]>([
    [undefined, undefined, false],
    ["8.0.0", undefined, true],
    ["8.2.2", undefined, true],
    ["9.0.0", undefined, false],
    ["10.1.0", undefined, false],
    ["9.1.0", true, true],
    ["8.2.2", false, false],
  ])("of QEMU %s with switch %s: two passes %s", (qemuVersion, flag, expected) => {
    const config = { ...(qemuVersion ? { qemuVersion } : {}), ...(flag === undefined ? {} : { qemuSinglePassAddPages: flag }) };
    expect(isTwoPass(config)).toBe(expected);
  });

  test.each([
    ["7.2.0", "unproven.os-image"],
    ["8.2", "malformed.vm-config"],
    ["8.2.2-rc1", "malformed.vm-config"],
    ["v8.2.2", "malformed.vm-config"],
    ["", "malformed.vm-config"],
  ])("of QEMU %j is refused, switch or not", (qemuVersion, code) => {
    expect(() => isTwoPass({ qemuVersion })).toThrow(expect.objectContaining({ code }));
    expect(() => isTwoPass({ qemuVersion, qemuSinglePassAddPages: true })).toThrow(expect.objectContaining({ code }));
  });
});

test("random bytes are never a document, and end in a refusal", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(() => parseLiteDocument(bytes)).toThrow(KmsError);
    }),
  );
});
