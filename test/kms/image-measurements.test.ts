/** Kept measurements: names computed by hand from the JSON that dstack writes, and files that nobody else could have put there. */
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMeasurementStore, MAX_MEASUREMENTS, registersText } from "../../kms/attestation/image/cache-measurements.ts";
import { measurementKey, vmConfigJson } from "../../kms/attestation/image/measurement-key.ts";
import type { LaunchRegisters } from "../../kms/attestation/image/registers.ts";
import { parseVmConfig } from "../../kms/attestation/image/vm-config.ts";

const image = "ab".repeat(32);

/** Written out, and hashed with `sha256sum`. */
const least = `{"os_image_hash":"${image}","cpu_count":2,"memory_size":2147483648,"pci_hole64_size":0,"hugepages":false,"num_gpus":0,"num_nvswitches":0,"hotplug_off":false,"host_share_mode":""}`;
const most = `{"os_image_hash":"${image}","cpu_count":16,"memory_size":68719476736,"qemu_single_pass_add_pages":false,"pic":true,"qemu_version":"9.2.1","pci_hole64_size":35184372088832,"hugepages":true,"num_gpus":1,"num_nvswitches":4,"num_nics":0,"num_verity_volumes":2,"swtpm":true,"hotplug_off":true,"image":"dstack \\"0.5.5\\" \\\\ é\\t\\u001f","host_share_mode":"vvfat","ovmf_variant":"pre202505","tdx_attestation_variant":"lite","tdx_measurement":{"checksum_file":"YWJj","measurement":"AQI="},"gcp_measurement":{"checksum_file":"","measurement":"AA=="},"aws_measurement":{"checksum_file":"YQ==","measurement":""}}`;
const none = `{"os_image_hash":"","cpu_count":0,"memory_size":0,"pci_hole64_size":0,"hugepages":false,"num_gpus":0,"num_nvswitches":0,"hotplug_off":false,"host_share_mode":""}`;

describe("the name of a measurement", () => {
  test.each([
    ["the members that are never left out", least, "5e1bb04dd01a5dcf481d133316c705b4f47269036e1de863e1345fa7dab02fed"],
    ["all members", most, "d8a409e55b6a34318615c2022c779d2edad15e803baef4c112f693836deb70f1"],
    ["defaults", none, "c29cabd92088055f90883286c7ee5b222fe740a334753dec42492e9491898b70"],
  ])("of %s is the hash of their JSON", (_name, json, key) => {
    expect(vmConfigJson(parseVmConfig(json))).toBe(json);
    expect(measurementKey(parseVmConfig(json))).toBe(key);
  });

  test("does not depend on the order, the spelling or the unknown members of what was sent", () => {
    const members = Object.entries(JSON.parse(least)).toReversed();
    const sent = JSON.stringify({ spec_version: 1, ...Object.fromEntries(members), os_image_hash: image.toUpperCase() }, null, 2);
    expect(vmConfigJson(parseVmConfig(sent))).toBe(least);
  });

  test.each([
    ["one network card", { num_nics: 1 }],
    ["no verity volume", { num_verity_volumes: 0 }],
    ["no software TPM", { swtpm: false }],
    ["the legacy variant", { tdx_attestation_variant: "legacy" }],
    ["members that are null", { pic: null, image: null, tdx_measurement: null }],
  ])("leaves out %s", (_name, change) => {
    expect(vmConfigJson(parseVmConfig(JSON.stringify({ ...JSON.parse(least), ...change })))).toBe(least);
  });

  test.each([
    { cpu_count: 3 },
    { memory_size: 1 },
    { qemu_single_pass_add_pages: false },
    { pic: false },
    { qemu_version: "" },
    { pci_hole64_size: 1 },
    { hugepages: true },
    { num_gpus: 1 },
    { num_nvswitches: 1 },
    { num_nics: 2 },
    { num_verity_volumes: 1 },
    { swtpm: true },
    { hotplug_off: true },
    { image: "" },
    { host_share_mode: "9p" },
    { ovmf_variant: "pre202505" },
    { os_image_hash: "cd".repeat(32) },
  ])("is another with %j", (change) => {
    expect(measurementKey(parseVmConfig(JSON.stringify({ ...JSON.parse(least), ...change })))).not.toBe(
      measurementKey(parseVmConfig(least)),
    );
  });
});

const registers: LaunchRegisters = {
  mrtd: new Uint8Array(48).fill(1),
  rtmr0: new Uint8Array(48).fill(2),
  rtmr1: new Uint8Array(48).fill(3),
  rtmr2: new Uint8Array(48).fill(4),
};
const [one, two, three, four] = ["01", "02", "03", "04"].map((byte) => byte.repeat(48));
const text = `{"version":3,"measurements":{"mrtd":"${one}","rtmr0":"${two}","rtmr1":"${three}","rtmr2":"${four}"}}`;
const key = measurementKey(parseVmConfig(least));
let dir: string;
let file: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "kms-measurements-"));
  file = join(dir, "measurements", `${key}.json`);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const load = () => createMeasurementStore(dir).load(key);

describe("a measurement", () => {
  test("is kept in dstack's form, whole, for its owner only, and found again", async () => {
    expect(await load()).toBeUndefined();
    await createMeasurementStore(dir).store(key, registers);
    expect(readFileSync(file, "utf8")).toBe(text);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(dir, "measurements"))).toEqual([`${key}.json`]);
    expect(await load()).toEqual(registers);
    expect(registersText(registers)).toBe(text);
  });

  test("that was computed under a file of ACPI digests says which, and counts under no other and under none", async () => {
    const [one, other] = ["1".repeat(64), "2".repeat(64)];
    const under = (file?: string) => createMeasurementStore(dir, file).load(key);
    await createMeasurementStore(dir, one).store(key, registers);
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ ...JSON.parse(text), acpi_data: one });
    expect([await under(one), await under(other), await under()]).toEqual([registers, undefined, undefined]);
    await createMeasurementStore(dir).store(key, registers);
    expect([await under(one), await under()]).toEqual([undefined, registers]);
  });

  test("replaces another", async () => {
    const store = createMeasurementStore(dir);
    await store.store(key, { ...registers, rtmr2: registers.mrtd });
    await store.store(key, registers);
    expect(await load()).toEqual(registers);
  });

  test.each([
    ["another version", text.replace(":3,", ":2,")],
    ["a version that is text", text.replace(":3,", ':"3",')],
    ["no version", text.replace('"version":3,', "")],
    ["three registers", text.replace(`,"rtmr2":"${four}"`, "")],
    ["a short register", text.replace("0101", "01")],
    ["a register that is no hex", text.replace("0101", "0x01")],
    ["another member", text.replace('{"version"', '{"more":1,"version"')],
    ["half of it", text.slice(0, 200)],
    ["nothing", ""],
    ["too much", text + " ".repeat(5000)],
  ])("with %s counts as none, and is written anew", async (_name, content) => {
    mkdirSync(join(dir, "measurements"));
    writeFileSync(file, content, { mode: 0o600 });
    expect(await load()).toBeUndefined();
    await createMeasurementStore(dir).store(key, registers);
    expect(await load()).toEqual(registers);
  });

  test.each<[string, () => void]>([
    ["that others may write", () => chmodSync(file, 0o666)],
    ["that the group may write", () => chmodSync(file, 0o620)],
    ["with a second name", () => linkSync(file, join(dir, "second"))],
    [
      "behind a link",
      () => {
        rmSync(file);
        writeFileSync(join(dir, "elsewhere"), text, { mode: 0o600 });
        symlinkSync(join(dir, "elsewhere"), file);
      },
    ],
    [
      "that is a folder",
      () => {
        rmSync(file);
        mkdirSync(file);
      },
    ],
  ])("%s counts as none", async (_name, spoil) => {
    await createMeasurementStore(dir).store(key, registers);
    spoil();
    expect(await load()).toBeUndefined();
  });

  test("that the disk cannot keep is no error", async () => {
    writeFileSync(join(dir, "measurements"), "a file in the folder's place");
    await createMeasurementStore(dir).store(key, registers);
    expect(await load()).toBeUndefined();
  });

  test("that cannot take its place leaves nothing of itself", async () => {
    mkdirSync(join(file, "in the way"), { recursive: true });
    await createMeasurementStore(dir).store(key, registers);
    expect(readdirSync(join(dir, "measurements"))).toEqual([`${key}.json`]);
  });

  test("is one of a bounded number", async () => {
    mkdirSync(join(dir, "measurements"));
    for (let at = 0; at < MAX_MEASUREMENTS + 3; at += 1) writeFileSync(join(dir, "measurements", `.${at}.json`), "");
    await createMeasurementStore(dir).store(key, registers);
    expect(readdirSync(join(dir, "measurements"))).toHaveLength(MAX_MEASUREMENTS);
    expect(await load()).toEqual(registers);
  });

  test("gives way to others by chance, not by a name that somebody could choose", async () => {
    mkdirSync(join(dir, "measurements"));
    const names = Array.from({ length: MAX_MEASUREMENTS }, (_, at) => `${at.toString(16).padStart(64, "0")}.json`);
    for (const name of names) writeFileSync(join(dir, "measurements", name), "");
    const store = createMeasurementStore(dir);
    for (let at = 0; at < 8; at += 1) await store.store(`${at}`.repeat(64).replaceAll("0", "f"), registers);
    const left = new Set(readdirSync(join(dir, "measurements")));
    const gone = names.filter((name) => !left.has(name));
    expect(left.size).toBe(MAX_MEASUREMENTS);
    for (const chosen of [names.slice(0, gone.length), names.slice(-gone.length)]) expect(gone).not.toEqual(chosen);
  });
});
