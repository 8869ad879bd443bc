/** The OS image check as a KMS puts it together from its settings: which source of ACPI digests is asked, and in which order. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AppraisedBoot } from "../../kms/attestation/appraise.ts";
import { acpiMachineOf } from "../../kms/attestation/image/acpi.ts";
import { recordOf } from "../../kms/attestation/image/acpi-data.ts";
import { acpiDigestsOf } from "../../kms/attestation/image/acpi-loader.ts";
import { loadImage } from "../../kms/attestation/image/cache-load.ts";
import { measureWith } from "../../kms/attestation/image/measure.ts";
import { type AcpiDigests, sha384 } from "../../kms/attestation/image/registers.ts";
import { parseVmConfig } from "../../kms/attestation/image/vm-config.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import type { Settings } from "../../kms/config.ts";
import { createOsImages } from "../../kms/os-images.ts";
import { imageHashOf, smallImage } from "../support/image-archive.ts";
import { acpiBlob, quoteReportTables } from "../support/launch-files.ts";
import { appraised } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";

const image = smallImage();
const config = parseVmConfig(
  JSON.stringify({ os_image_hash: toHex(imageHashOf(image)), cpu_count: 2, memory_size: 2147483648, qemu_version: "9.2.1" }),
);
const fromFile: AcpiDigests = { loader: sha384(utf8("l")), rsdp: sha384(utf8("r")), tables: sha384(utf8("t")) };
const blob = acpiBlob(quoteReportTables);
let dir: string;
let imageDir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "kms-os-images-"));
  imageDir = join(dir, "cache", "images", toHex(config.osImageHash));
  mkdirSync(imageDir, { recursive: true });
  for (const [name, content] of Object.entries(image)) writeFileSync(join(imageDir, name), content);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function settings(change: Partial<Settings["image"]> = {}): Settings["image"] {
  return {
    verify: true,
    cacheDir: join(dir, "cache"),
    downloadUrl: "http://127.0.0.1:1/{OS_IMAGE_HASH}",
    downloadTimeoutMs: 1000,
    acpiDataFile: undefined,
    programPath: join(dir, "bin"),
    ...change,
  };
}

async function guest(acpi: AcpiDigests): Promise<AppraisedBoot> {
  const { mrtd: mrTd, ...rtmrs } = measureWith((await loadImage(imageDir)).files, config, acpi);
  return {
    ...appraised(),
    vmConfig: config,
    evidence: { quote: { quote: { body: { mrTd, ...rtmrs } } } },
  } as unknown as AppraisedBoot;
}

function dataFile(cpuCount: number, digests = fromFile): string {
  const machine = recordOf(acpiMachineOf({ ...config, cpuCount }));
  const { loader, rsdp, tables } = digests;
  const entry = { machine, loader: toHex(loader), rsdp: toHex(rsdp), tables: toHex(tables) };
  const file = join(dir, "acpi.json");
  writeFileSync(file, JSON.stringify({ version: 1, entries: [entry] }));
  return file;
}

function installProgram(): void {
  mkdirSync(join(dir, "bin"));
  const program = join(dir, "bin", "dstack-acpi-tables");
  writeFileSync(join(dir, "blob"), blob);
  writeFileSync(program, `#!/bin/sh\nexec /bin/cat ${join(dir, "blob")}\n`);
  chmodSync(program, 0o755);
}

async function check(boot: AppraisedBoot, change: Partial<Settings["image"]>): Promise<void> {
  await (await createOsImages(settings(change))).check?.(boot);
}

describe("ACPI digests", () => {
  test("come from the file where it has the machine, even beside a program", async () => {
    installProgram();
    await check(await guest(fromFile), { acpiDataFile: dataFile(2) });
  });

  test("come from the program on the PATH where the file does not have the machine, or there is none", async () => {
    installProgram();
    await check(await guest(acpiDigestsOf(blob)), { acpiDataFile: dataFile(3) });
    rmSync(join(dir, "cache", "measurements"), { recursive: true });
    await check(await guest(acpiDigestsOf(blob)), {});
  });

  test("of an entry that was wrong are out of force when the file changes, or goes", async () => {
    const wrong = { ...fromFile, tables: sha384(utf8("made up")) };
    await check(await guest(wrong), { acpiDataFile: dataFile(2, wrong) });
    const mended = await refusal(check(await guest(wrong), { acpiDataFile: dataFile(2) }));
    expect(mended).toEqual({ code: "unproven.os-image", message: expect.stringMatching(/^RTMR0 mismatch/) });
    expect((await refusal(check(await guest(wrong), {}))).code).toBe("unavailable.acpi-tables");
    await check(await guest(fromFile), { acpiDataFile: dataFile(2) });
  });

  test("that neither has are missing, and the refusal says what was tried", async () => {
    const both = await refusal(check(await guest(fromFile), { acpiDataFile: dataFile(3) }));
    expect(both.code).toBe("unavailable.acpi-tables");
    expect(both.message).toMatch(/^ACPI data: no entry for .*"cpu_count":2.*: dstack-acpi-tables: no such program$/);
    const program = await refusal(check(await guest(fromFile), {}));
    expect(program).toEqual({ code: "unavailable.acpi-tables", message: "dstack-acpi-tables: no such program" });
  });

  test("in a file that cannot be used stop the start", async () => {
    for (const [text, words] of [
      ["{", "need a member name"],
      ["{}", "version"],
      [undefined, "cannot be read"],
    ] as const) {
      const acpiDataFile = join(dir, "bad.json");
      rmSync(acpiDataFile, { force: true });
      if (text !== undefined) writeFileSync(acpiDataFile, text);
      const said = await refusal(createOsImages(settings({ acpiDataFile })));
      expect(said.code).toBe("malformed.config");
      expect(said.message).toContain("core.image.acpi_data");
      expect(said.message).toContain(words);
    }
  });
});

test("with the check off nothing is checked, read or removed", async () => {
  mkdirSync(join(dir, "cache", "images", "tmp"));
  const { check: none, counts } = await createOsImages(settings({ verify: false, acpiDataFile: join(dir, "missing") }));
  expect(none).toBeUndefined();
  expect(counts()).toEqual({ downloads: 0, failures: 0 });
  expect(existsSync(join(dir, "cache", "images", "tmp"))).toBe(true);
});

test("each download that ended is reported to whoever asks to be told", async () => {
  rmSync(imageDir, { recursive: true });
  const images = await createOsImages(settings());
  const told: [string, unknown][] = [];
  images.reportTo((name, problem) => void told.push([name, problem]));
  await refusal(async () => images.check?.({ ...appraised(), vmConfig: config, evidence: { quote: { quote: {} } } } as never));
  expect(told).toEqual([[toHex(config.osImageHash), expect.objectContaining({ code: "unavailable.os-image" })]]);
  expect(images.counts()).toEqual({ downloads: 1, failures: 1 });
});
