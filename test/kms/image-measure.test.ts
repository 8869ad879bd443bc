/** The launch registers of whole images: by both paths, one byte at a time, and the published image where it is at hand. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { AcpiSource } from "../../kms/attestation/image/acpi.ts";
import { createAcpiProgram } from "../../kms/attestation/image/acpi-program.ts";
import { loadImage } from "../../kms/attestation/image/cache-load.ts";
import type { ImageFiles } from "../../kms/attestation/image/image-files.ts";
import { encodeLiteDocument, expectedLiteRegisters, parseLiteDocument } from "../../kms/attestation/image/lite.ts";
import { commandLineDigest, liteDocumentOf, measureImage, measureWith } from "../../kms/attestation/image/measure.ts";
import {
  type LaunchRegisters,
  registerOf,
  requireRegisters,
  rtmr0Events,
  rtmr1Events,
  rtmr2Events,
} from "../../kms/attestation/image/registers.ts";
import { parseVmConfig, type VmConfig } from "../../kms/attestation/image/vm-config.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { firmwareOf, kernelOf, noise } from "../support/launch-files.ts";
import { realJson } from "../support/real-evidence.ts";

const hash = (bytes: Uint8Array | string) => new Uint8Array(createHash("sha384").update(bytes).digest());
const initrd = noise(5000, 3);
const files: ImageFiles = {
  firmware: firmwareOf(),
  kernel: kernelOf(),
  initrd: { size: initrd.length, sha384: hash(initrd) },
  cmdline: "console=ttyS0 dstack.rootfs_hash=00",
  ovmfVariant: "pre202505",
  paths: { firmware: "/image/ovmf.fd", kernel: "/image/bzImage", initrd: "/image/initrd" },
};
const acpi = { loader: hash("loader"), rsdp: hash("rsdp"), tables: hash("tables") };
const source: AcpiSource = { digestsOf: async () => acpi };
const configOf = (members: object = {}): VmConfig =>
  parseVmConfig(JSON.stringify({ cpu_count: 2, memory_size: 2147483648, qemu_version: "9.2.1", ...members }));
const inHex = (registers: LaunchRegisters) =>
  Object.fromEntries(Object.entries(registers).map(([name, value]: [string, Uint8Array]) => [name, toHex(value)]));
const flipped = (bytes: Uint8Array, offset: number) => bytes.map((byte, index) => (index === offset ? byte ^ 1 : byte));

test("an image has the registers that its lite document leads to", async () => {
  for (const members of [{}, { qemu_version: "8.2.2" }, { memory_size: 68719476736 }, { qemu_single_pass_add_pages: true }]) {
    const config = configOf(members);
    const document = parseLiteDocument(encodeLiteDocument(liteDocumentOf(files)));
    const twoPass = config.qemuSinglePassAddPages ?? config.qemuVersion === "8.2.2";
    const expected = expectedLiteRegisters(document, { memorySize: config.memorySize, twoPass, acpi });
    expect(inHex(await measureImage(files, config, source))).toEqual(inHex(expected));
  }
});

test("an image that names no variant of the firmware has the one that is known in its lite document", () => {
  expect(liteDocumentOf({ ...files, ovmfVariant: undefined })).toEqual(liteDocumentOf(files));
  expect(liteDocumentOf(files).ovmf).toBe("pre202505");
});

test("the real lite document is written as its builder wrote it", () => {
  const config = parseVmConfig(realJson("dstack-tdx-lite-getquote.json")["vm_config"] ?? "");
  const bytes = config.tdxMeasurement?.measurement ?? new Uint8Array(0);
  expect(toHex(encodeLiteDocument(parseLiteDocument(bytes)))).toBe(toHex(bytes));
});

interface Entry {
  readonly imr: number;
  readonly digest: string;
}

describe("the constants of the registers are those of real logs:", () => {
  const capture = realJson("dstack-quote-report.json");
  const lite = realJson("dstack-tdx-lite-getquote.json");
  const mpc = realJson("mpc-2026-08-tcb_info.json");
  test.each<[string, Entry[], number]>([
    ["quote-report", JSON.parse(capture["event_log"] ?? ""), 68719476736],
    ["lite", JSON.parse(lite["event_log"] ?? ""), 2147483648],
    ["mpc", mpc["event_log"] as unknown as Entry[], 68719476736],
  ])("%s", async (_name, log, memorySize) => {
    const digests = (imr: number) => log.filter((entry) => entry.imr === imr).map(({ digest }) => Buffer.from(digest, "hex"));
    const [loader, rsdp, tables] = digests(0).slice(8, 11);
    const [kernel] = digests(1);
    const [commandLine, initrdDigest] = digests(2);
    if (!loader || !rsdp || !tables || !kernel || !commandLine || !initrdDigest) throw new Error("the log is complete");
    const registers = expectedLiteRegisters(
      { ...liteDocumentOf(files), kernelAuthenticode: kernel, cmdlineSha384: commandLine, initrdSha384: initrdDigest },
      { memorySize, twoPass: false, acpi: { loader, rsdp, tables } },
    );
    const replayed = [0, 1, 2].map((imr) => toHex(registerOf(digests(imr))));
    expect([registers.rtmr0, registers.rtmr1, registers.rtmr2].map(toHex)).toEqual(replayed);
  });
});

describe("one change changes its registers and no others:", () => {
  const changes: [string, Partial<ImageFiles>, object, string[]][] = [
    ["a byte of measured firmware", { firmware: flipped(files.firmware, 0x3000) }, {}, ["mrtd"]],
    ["a byte of firmware that is not measured", { firmware: flipped(files.firmware, 0x100) }, {}, []],
    ["a byte of the kernel", { kernel: flipped(files.kernel, 0x2fff) }, {}, ["rtmr1"]],
    ["a byte of the kernel's checksum", { kernel: flipped(files.kernel, 0x98) }, {}, []],
    ["a byte of the initrd", { initrd: { size: initrd.length, sha384: hash(flipped(initrd, 4999)) } }, {}, ["rtmr2"]],
    ["a byte more of initrd", { initrd: { size: 5001, sha384: hash(noise(5001, 3)) } }, {}, ["rtmr1", "rtmr2"]],
    ["a letter of the command line", { cmdline: files.cmdline.replace("=00", "=01") }, {}, ["rtmr2"]],
    ["the order of pages", {}, { qemu_single_pass_add_pages: true }, ["mrtd"]],
    ["more memory", {}, { memory_size: 4294967296 }, ["rtmr0"]],
    ["less than 2 GiB of memory", {}, { memory_size: 1073741824 }, ["rtmr0", "rtmr1"]],
    ["the number of processors, for a source that does not care", {}, { cpu_count: 4 }, []],
  ];
  test.each(changes)("%s", async (_name, change, members, names) => {
    const before = inHex(await measureImage(files, configOf(), source));
    const after = inHex(await measureImage({ ...files, ...change }, configOf(members), source));
    const changed = Object.keys(before).filter((name) => before[name] !== after[name]);
    expect(changed.toSorted()).toEqual(names);
  });

  test.each(["loader", "rsdp", "tables"])("the digest of the ACPI %s", async (name) => {
    const before = inHex(await measureImage(files, configOf(), source));
    const changed: AcpiSource = { digestsOf: async () => ({ ...acpi, [name]: hash("other") }) };
    expect(inHex(await measureImage(files, configOf(), changed))).toEqual({
      ...before,
      rtmr0: expect.not.stringMatching(`^${before["rtmr0"]}$`),
    });
  });
});

describe("files that are measured for many machines", () => {
  const mib = 1024 * 1024;
  const machines = [512, 1024, 2048, 2800, 2816, 4096, 65536].flatMap((memory) =>
    [true, false].map((order) => configOf({ memory_size: memory * mib, qemu_single_pass_add_pages: order })),
  );

  test("come out for each as for it alone", async () => {
    const own = { ...files };
    for (const config of [...machines, ...machines.toReversed()]) {
      expect(inHex(await measureImage(own, config, source))).toEqual(inHex(measureWith({ ...files }, config, acpi)));
    }
  });

  test("are hashed once, and what depends on the memory a bounded number of times", async () => {
    const own = { ...files, firmware: files.firmware.slice(), kernel: files.kernel.slice() };
    const before = inHex(await measureImage(own, configOf(), source));
    own.firmware.set([1, 2, 3], 0x3000); // as nobody does: to see what is read again
    own.kernel.set([1, 2, 3], 0x2ff0);
    expect(inHex(await measureImage(own, configOf(), source))).toEqual(before);
    for (let small = 0; small < 16; small += 1) await measureImage(own, configOf({ memory_size: (512 + small) * mib }), source);
    expect(inHex(await measureImage(own, configOf(), source))).toEqual({
      ...before,
      rtmr1: expect.not.stringMatching(`^${before["rtmr1"]}$`),
    });
  });
});

test("each digest of a register has its name, by which a diagnosis speaks of it", () => {
  const zero = new Uint8Array(48);
  const names = [rtmr0Events(zero, acpi), rtmr1Events(zero), rtmr2Events(zero, zero)].map((events) =>
    events.map(({ name }) => name).join(", "),
  );
  expect(names).toEqual([
    "TD HOB, configuration volume, variable SecureBoot, variable PK, variable KEK, variable db, variable dbx, separator, ACPI loader, ACPI RSDP, ACPI tables, variable BootOrder, variable Boot0000",
    "kernel, calling the boot option, separator, exit of boot services invoked, exit of boot services returned",
    "command line, initrd",
  ]);
});

test("the command line is measured as the kernel's loader sees it", () => {
  expect(toHex(commandLineDigest("ä"))).toBe(
    toHex(hash(Buffer.from("e400200069006e0069007400720064003d0069006e0069007400720064000000", "hex"))),
  );
});

describe("a measurement ends before it begins", () => {
  test.each<[string, object, string]>([
    ["without processors", { cpu_count: 0 }, "malformed.vm-config"],
    ["with a software TPM", { swtpm: true }, "malformed.vm-config"],
    ["with an old QEMU", { qemu_version: "7.2.0" }, "unproven.os-image"],
    ["without memory", { memory_size: 0 }, "malformed.vm-config"],
  ])("%s", async (_name, members, code) => {
    await expect(measureImage(files, configOf(members), source)).rejects.toThrow(expect.objectContaining({ code }));
  });

  test("when no source knows the machine", async () => {
    const program = createAcpiProgram({ program: "/nowhere/dstack-acpi-tables", environment: {} });
    await expect(measureImage(files, configOf(), program)).rejects.toThrow(
      expect.objectContaining({ code: "unavailable.acpi-tables" }),
    );
  });
});

test.each(["mrtd", "rtmr0", "rtmr1", "rtmr2"] as const)("a quote with another %s is refused with both values", async (name) => {
  const expected = await measureImage(files, configOf(), source);
  const { mrtd, ...rtmrs } = expected;
  const quoted = { mrTd: mrtd, ...rtmrs, [name === "mrtd" ? "mrTd" : name]: utf8("x".repeat(48)) };
  expect(() => requireRegisters(expected, { mrTd: mrtd, ...rtmrs })).not.toThrow();
  const message = `${name.toUpperCase()} mismatch: expected=${toHex(expected[name])}, actual=${"78".repeat(48)}`;
  expect(() => requireRegisters(expected, quoted)).toThrow(expect.objectContaining({ code: "unproven.os-image", message }));
});

/** The archive dstack-0.5.5.tar.gz, packed or unpacked; the program by its path. */
const published = process.env["DSTACK_IMAGE_0_5_5"] ?? "";
const unpacked = mkdtempSync(join(tmpdir(), "dstack-image-"));
afterAll(() => rmSync(unpacked, { recursive: true, force: true }));

/** The folder with the manifest, which an archive may have at its top or one level below. */
function publishedFolder(): string {
  if (statSync(published).isFile() && readdirSync(unpacked).length === 0) execFileSync("tar", ["-xf", published, "-C", unpacked]);
  const top = statSync(published).isFile() ? unpacked : published;
  return [top, ...readdirSync(top).map((name) => join(top, name))].find((at) => existsSync(join(at, "sha256sum.txt"))) ?? top;
}

describe.skipIf(!existsSync(published))("the published image 0.5.5 has the published registers:", () => {
  const config = configOf({ cpu_count: 1, qemu_version: "8.2.2", pic: true, qemu_single_pass_add_pages: true });

  test("MRTD, RTMR1 and RTMR2", async () => {
    const { files: image } = await loadImage(publishedFolder());
    const { mrtd, rtmr1, rtmr2 } = inHex(await measureImage(image, config, source));
    expect({ mrtd, rtmr1, rtmr2 }).toEqual({
      mrtd: "f06dfda6dce1cf904d4e2bab1dc370634cf95cefa2ceb2de2eee127c9382698090d7a4a13e14c536ec6c9c3c8fa87077",
      rtmr1: "daa9380dc33b14728a9adb222437cf14db2d40ffc4d7061d8f3c329f6c6b339f71486d33521287e8faeae22301f4d815",
      rtmr2: "1c41080c9c74be158e55b92f2958129fc1265647324c4a0dc403292cfa41d4c529f39093900347a11c8c1b82ed8c5edf",
    });
  });

  test.skipIf(process.env["DSTACK_ACPI_TABLES"] === undefined)("RTMR0, with the program", async () => {
    const program = process.env["DSTACK_ACPI_TABLES"] ?? "";
    const environment = { PATH: process.env["PATH"] ?? "" };
    const { files: image } = await loadImage(publishedFolder());
    expect(inHex(await measureImage(image, config, createAcpiProgram({ program, environment })))["rtmr0"]).toBe(
      "68102e7b524af310f7b7d426ce75481e36c40f5d513a9009c046e9d37e31551f0134d954b496a3357fd61d03f07ffe96",
    );
  });
});
