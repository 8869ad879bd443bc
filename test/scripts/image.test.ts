/** `image measure`, `document` and `diagnose` on a made-up image: results, explanations, and how they end. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { acpiDigestsOf } from "../../kms/attestation/image/acpi-loader.ts";
import { authenticodeSha384 } from "../../kms/attestation/image/authenticode.ts";
import { loadImage } from "../../kms/attestation/image/cache-load.ts";
import { kernelDigest } from "../../kms/attestation/image/kernel.ts";
import { commandLineDigest, measureWith } from "../../kms/attestation/image/measure.ts";
import { rtmr0Events, rtmr1, rtmr1Events, rtmr2, rtmr2Events } from "../../kms/attestation/image/registers.ts";
import { buildTdHob, parseHobWitness } from "../../kms/attestation/image/td-hob.ts";
import { parseVmConfig } from "../../kms/attestation/image/vm-config.ts";
import { fromHex, toHex } from "../../kms/bytes.ts";
import { type DiagnoseFlags, diagnose } from "../../scripts/image-diagnose.ts";
import { measure, writeDocument } from "../../scripts/image-measure.ts";
import { imageCmdline, imageHashOf, manifestText, smallImage } from "../support/image-archive.ts";
import { acpiBlob, quoteReportTables } from "../support/launch-files.ts";
import { runCommandLine } from "../support/programs.ts";
import { scratchFolder } from "../support/scratch.ts";

const { dir: scratch, file: at } = scratchFolder();

const image = smallImage();
const dir = join(scratch, "image");
mkdirSync(dir);
for (const [name, content] of Object.entries(image)) writeFileSync(join(dir, name), content);
const { files } = await loadImage(dir);

const settings = { os_image_hash: toHex(imageHashOf(image)), cpu_count: 2, memory_size: 2147483648, qemu_version: "9.2.1" };
const configOf = (members: object = {}) => parseVmConfig(JSON.stringify({ ...settings, ...members }));
const configFile = at("vm-config.json", JSON.stringify(settings));
const blob = acpiBlob(quoteReportTables);
at("blob", blob);
const program = at("acpi-tables", `#!/bin/sh\ncat '${join(scratch, "blob")}'\n`);
chmodSync(program, 0o755);
const acpi = acpiDigestsOf(blob);
const right = measureWith(files, configOf(), acpi);

interface MeasureJson {
  readonly osImageHash: string;
  readonly mrtd: string;
  readonly rtmr0: string | null;
  readonly rtmr1: string;
  readonly rtmr2: string;
  readonly acpi: { readonly entry: object } | null;
  readonly lite: { readonly documentSha256: string; readonly coversMemory: boolean; readonly mrtd: Record<string, string> };
}
const measured = async (flags: object = {}) => (await measure(dir, { vmConfig: configFile, ...flags })).json as MeasureJson;

describe("measure prints", () => {
  test("the four registers, with the program that makes ACPI tables", async () => {
    const { osImageHash, mrtd, rtmr0, rtmr1: one, rtmr2: two, lite } = await measured({ acpiProgram: program });
    expect({ osImageHash, mrtd, rtmr0, one, two }).toEqual({
      osImageHash: settings.os_image_hash,
      mrtd: toHex(right.mrtd),
      rtmr0: toHex(right.rtmr0),
      one: toHex(right.rtmr1),
      two: toHex(right.rtmr2),
    });
    expect([lite.coversMemory, lite.mrtd["singlePass"], lite.mrtd["twoPass"] === mrtd]).toEqual([true, mrtd, false]);
  });

  test("an entry for a file of known digests, which then serves in place of the program", async () => {
    const { acpi: found, rtmr0 } = await measured({ acpiProgram: program });
    const file = at("acpi.json", JSON.stringify({ version: 1, entries: [found?.entry] }));
    expect((await measured({ acpi: file })).rtmr0).toBe(rtmr0);
    await expect(
      measure(dir, { vmConfig: at("other.json", JSON.stringify({ ...settings, cpu_count: 4 })), acpi: file }),
    ).rejects.toThrow(expect.objectContaining({ code: "unavailable.acpi-tables" }));
  });

  test("all but RTMR0 when there is no source of ACPI digests, and says what is missing", async () => {
    const path = process.env["PATH"];
    process.env["PATH"] = scratch;
    const result = await measure(dir, { vmConfig: configFile }).finally(() => {
      process.env["PATH"] = path;
    });
    expect(result.json).toMatchObject({ rtmr0: null, acpi: null, rtmr1: toHex(right.rtmr1) });
    expect(result.notes?.join()).toMatch(/rtmr0 needs ACPI digests: --acpi FILE/);
  });

  test("the ACPI digests that a real guest attests", async () => {
    const evidence = fileURLToPath(new URL("../fixtures/tdx/dstack-tdx-lite-getquote.json", import.meta.url));
    expect((await measured({ evidence })).acpi?.entry).toMatchObject({ loader: expect.stringMatching(/^095d04cf/) });
  });

  test("a note when the configuration is for another image", async () => {
    const other = at("other-image.json", JSON.stringify({ ...settings, os_image_hash: "00".repeat(32) }));
    expect((await measure(dir, { vmConfig: other, acpiProgram: program })).notes?.join()).toMatch(/for another image/);
  });

  test.each<[string, object, string]>([
    ["two sources", { acpi: "a", acpiProgram: "b" }, "malformed.usage"],
    ["a chosen program that is not there", { acpiProgram: join(scratch, "missing") }, "unavailable.acpi-tables"],
    ["a file that is not there", { acpi: join(scratch, "missing") }, "malformed.file"],
    ["a configuration that is no JSON", { vmConfig: program, acpiProgram: program }, "malformed.vm-config"],
  ])("nothing with %s", async (_name, flags, code) => {
    await expect(measured(flags)).rejects.toThrow(expect.objectContaining({ code }));
  });
});

test("document writes what a lite guest brings, once, and the line that lists it", async () => {
  const { json } = await writeDocument(dir, {});
  const bytes = new Uint8Array(readFileSync(join(dir, "measurement.tdx.cbor")));
  const line = manifestText({ "measurement.tdx.cbor": bytes }).trimEnd();
  expect(json).toMatchObject({
    bytes: bytes.length,
    line,
    sha256: (await measured({ acpiProgram: program })).lite.documentSha256,
  });
  await expect(writeDocument(dir, {})).rejects.toThrow(expect.objectContaining({ code: "malformed.usage" }));
  await expect(writeDocument(dir, { force: true })).resolves.toBeDefined();
});

interface DiagnosisJson {
  readonly registers: Record<string, { readonly matches: boolean | null; readonly expected: string; readonly actual: string }>;
  readonly differences: readonly {
    readonly register: string;
    readonly event: string | null;
    readonly input: string;
    readonly because: string | null;
  }[];
}
const hex = (registers: object) =>
  JSON.stringify(registers, (_key, value: unknown) => (value instanceof Uint8Array ? toHex(value) : value));
const wrongOf = ({ registers }: DiagnosisJson) => Object.keys(registers).filter((name) => registers[name]?.matches !== true);

async function diagnosed(guest: object, flags: Partial<DiagnoseFlags> = {}) {
  const result = await diagnose(dir, {
    vmConfig: configFile,
    registers: at("guest.json", hex(guest)),
    acpiProgram: program,
    ...flags,
  });
  const json = result.json as DiagnosisJson;
  return {
    code: result.refusal?.code,
    wrong: wrongOf(json),
    because: json.differences.map(({ because }) => because),
    json,
    text: result.text,
  };
}

describe("diagnose, from registers alone,", () => {
  test("finds nothing where there is nothing", async () => {
    expect(await diagnosed(right)).toMatchObject({ code: undefined, wrong: [], because: [] });
  });

  const other = { ...acpi, tables: acpi.loader, loader: acpi.tables };
  test.each<[string, object, string[], RegExp]>([
    [
      "the order of pages",
      measureWith(files, configOf({ qemu_version: "8.2.2" }), acpi),
      ["mrtd"],
      /added in two passes, as QEMU 8 does/,
    ],
    [
      "more memory",
      measureWith(files, configOf({ memory_size: 68719476736 }), acpi),
      ["rtmr0"],
      /has 68719476736 bytes of memory, the configuration says 2147483648/,
    ],
    ["swapped ACPI digests", measureWith(files, configOf(), other), ["rtmr0"], /ACPI digests are in another order/],
    [
      "more memory and swapped ACPI digests",
      measureWith(files, configOf({ memory_size: 4294967296 }), other),
      ["rtmr0"],
      /4294967296 .*; the ACPI/,
    ],
    [
      "an unpatched kernel",
      { ...right, rtmr1: rtmr1(authenticodeSha384(files.kernel)) },
      ["rtmr1"],
      /without the loader's changes/,
    ],
    [
      "a kernel loaded for less memory",
      { ...right, rtmr1: rtmr1(kernelDigest(files.kernel, { memorySize: 1073741824n, initrdSize: files.initrd.size })) },
      ["rtmr1"],
      /loaded for 1073741824 bytes/,
    ],
    [
      "another command line",
      { ...right, rtmr2: rtmr2(commandLineDigest("quiet"), files.initrd.sha384) },
      ["rtmr2"],
      /command line is: quiet initrd=initrd/,
    ],
  ])("explains %s", async (_name, guest, wrong, because) => {
    const found = await diagnosed(guest, { cmdline: ["loud", "quiet"] });
    expect(found).toMatchObject({ code: "unproven.os-image", wrong, because: [expect.stringMatching(because)] });
    const { expected, actual } = found.json.registers[wrong[0] ?? ""] ?? { expected: "", actual: "" };
    expect(found.text).toContain(`expected  ${expected}`);
    expect(found.text).toContain(`actual    ${actual}`);
  });

  test("explains a machine that the file of known digests has", async () => {
    const known = { loader: "1a".repeat(48), rsdp: "2b".repeat(48), tables: "3c".repeat(48) };
    const { acpi: found } = await measured({ acpiProgram: program });
    const entry = found?.entry as { machine: object };
    const entries = [entry, { machine: { ...entry.machine, cpu_count: 8, num_gpus: 1 }, ...known }];
    const bytes = { loader: fromHex(known.loader, ""), rsdp: fromHex(known.rsdp, ""), tables: fromHex(known.tables, "") };
    const result = await diagnose(dir, {
      vmConfig: configFile,
      registers: at("guest.json", hex(measureWith(files, configOf(), bytes))),
      acpi: at("two.json", JSON.stringify({ version: 1, entries })),
    });
    const json = result.json as DiagnosisJson;
    expect(json.differences).toMatchObject([
      { register: "rtmr0", because: "the machine has cpu_count 8 in place of 2, num_gpus 1 in place of 0" },
    ]);
  });

  test("says so when nothing that it tries leads there", async () => {
    const unknown = { mrtd: "11".repeat(48), rtmr0: "22".repeat(48), rtmr1: "33".repeat(48), rtmr2: "44".repeat(48) };
    const { because, json, text } = await diagnosed(unknown);
    expect(because).toEqual([null, null, null, null]);
    expect(json.differences.map(({ input }) => input)).toEqual([
      "the firmware",
      "the memory, the devices of the machine, or the firmware",
      "the kernel, or the size of the initrd",
      "the command line, or the initrd",
    ]);
    expect(text).toContain("because of the firmware: no other input that was tried leads to it");
  });
});

describe("diagnose, with an event log,", () => {
  const hob = (memory: bigint) => buildTdHob(parseHobWitness(fromHex("80100904000609020b021010", "witness")), memory);
  const logOf = (memory: bigint, kernel: Uint8Array, initrd: Uint8Array) => {
    const events = [
      ...rtmr0Events(hob(memory), acpi).map(({ name, digest }) => ({ imr: 0, name, digest })),
      ...rtmr1Events(kernel).map(({ name, digest }) => ({ imr: 1, name, digest })),
      ...rtmr2Events(commandLineDigest(imageCmdline), initrd).map(({ name, digest }) => ({ imr: 2, name, digest })),
    ];
    return events.map(({ imr, name, digest }) => ({
      imr,
      event_type: name.startsWith("ACPI") ? 10 : 4,
      digest: toHex(digest),
      event: "",
      event_payload: name.startsWith("ACPI")
        ? toHex(Buffer.from("ACPI DATA"))
        : name === "kernel"
          ? `${"00".repeat(8)}0010000000000000`
          : "",
    }));
  };
  const kernel = kernelDigest(files.kernel, { memorySize: 2147483648n, initrdSize: files.initrd.size });

  test("names the events, each with its reason where one is found", async () => {
    const zero = new Uint8Array(48);
    const config = configOf({ memory_size: 4294967296 });
    const guest = {
      ...measureWith(files, config, acpi),
      rtmr1: rtmr1(zero),
      rtmr2: rtmr2(commandLineDigest(imageCmdline), zero),
    };
    const { json, code } = await diagnosed({ ...guest, event_log: logOf(4294967296n, zero, zero) });
    expect(code).toBe("unproven.os-image");
    expect(json.differences.map(({ register, event, because }) => [register, event, because])).toEqual([
      ["rtmr0", "TD HOB", "the machine has 4294967296 bytes of memory, the configuration says 2147483648"],
      ["rtmr1", "kernel", "the measured kernel has 4096 bytes, the image's 12288"],
      ["rtmr2", "initrd", null],
    ]);
  });

  test("does not trust a log that is not of the register", async () => {
    const { json } = await diagnosed({
      ...right,
      rtmr2: "55".repeat(48),
      event_log: logOf(2147483648n, kernel, files.initrd.sha384),
    });
    expect(json.differences).toMatchObject([
      { register: "rtmr2", event: null, because: "the event log is not that of this register" },
    ]);
  });

  test("takes the ACPI digests from it when no source is given", async () => {
    const result = await diagnose(dir, {
      vmConfig: configFile,
      registers: at("guest.json", hex({ ...right, event_log: logOf(2147483648n, kernel, files.initrd.sha384) })),
    });
    expect([result.refusal, wrongOf(result.json as DiagnosisJson)]).toEqual([undefined, []]);
  });
});

describe("diagnose of a real guest", () => {
  const evidence = fileURLToPath(new URL("../fixtures/tdx/dstack-quote-report.json", import.meta.url));

  test("takes its own configuration, and finds another image of the same firmware layout", async () => {
    const { json, refusal, notes } = await diagnose(dir, { evidence });
    expect(refusal?.code).toBe("unproven.os-image");
    expect(wrongOf(json as DiagnosisJson)).toEqual(["mrtd", "rtmr1", "rtmr2"]);
    expect((json as DiagnosisJson).differences.map(({ event }) => event)).toEqual([null, "kernel", "command line", "initrd"]);
    expect(notes?.join()).toMatch(/not verified.*for another image/);
  });

  test.each<[string, DiagnoseFlags, string]>([
    ["neither evidence nor registers", { vmConfig: configFile }, "malformed.usage"],
    ["both", { vmConfig: configFile, evidence, registers: evidence }, "malformed.usage"],
    ["no configuration", { registers: at("right.json", hex(right)) }, "malformed.usage"],
    ["registers that are no object", { vmConfig: configFile, registers: at("list.json", "[]") }, "malformed.file"],
    [
      "a register of 47 bytes",
      { vmConfig: configFile, registers: at("short.json", hex({ ...right, rtmr1: "00".repeat(47) })) },
      "malformed.file",
    ],
    ["no register", { vmConfig: configFile, registers: at("none.json", "{}") }, "malformed.file"],
  ])("refuses %s", async (_name, flags, code) => {
    await expect(diagnose(dir, flags)).rejects.toThrow(expect.objectContaining({ code }));
  });
});

const command = (...args: string[]) => runCommandLine("image.ts", args);

describe("the command ends", () => {
  test("with 0 and the result on stdout", async () => {
    const { status, stdout } = await command("measure", dir, "--vm-config", configFile, "--acpi-program", program, "--json");
    expect([status, JSON.parse(stdout)]).toMatchObject([0, { ok: true, rtmr0: toHex(right.rtmr0) }]);
  });

  test("with 3, the whole result and one line of what to correct, when a register differs", async () => {
    const guest = at("differs.json", hex(measureWith(files, configOf({ memory_size: 4294967296 }), acpi)));
    const args = ["diagnose", dir, "--vm-config", configFile, "--registers", guest, "--acpi-program", program];
    const { status, stdout, stderr } = await command(...args, "--json");
    expect([status, JSON.parse(stdout)]).toMatchObject([
      3,
      { ok: false, code: "unproven.os-image", registers: { rtmr0: { matches: false } } },
    ]);
    expect(stderr).toMatch(
      /error: not the registers of this image: rtmr0 differs .*\nhint: correct what explains it: the machine has 4294967296/,
    );
  });

  test("with 5 and the way out, when there is no program", async () => {
    const { status, stderr } = await command(
      "measure",
      dir,
      "--vm-config",
      configFile,
      "--acpi-program",
      join(scratch, "missing"),
    );
    expect([status, stderr]).toEqual([5, expect.stringMatching(/no such program.*\nhint: pass --acpi FILE/)]);
  });

  test("with 2 for an image whose files are not those it lists", async () => {
    const broken = join(scratch, "broken");
    mkdirSync(broken);
    for (const [name, content] of Object.entries(image))
      writeFileSync(join(broken, name), name === "bzImage" ? content.slice(1) : content);
    const { status, stderr } = await command("measure", broken, "--vm-config", configFile, "--acpi-program", program);
    expect([status, stderr]).toEqual([2, expect.stringMatching(/bzImage mismatch.*\nhint: DIR has to be/s)]);
  });
});
