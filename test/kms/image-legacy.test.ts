/** The legacy check on a real store and server, behind the real authority: what it accepts, what it keeps, and when the policy is asked. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AppraisedBoot } from "../../kms/attestation/appraise.ts";
import { type AcpiSource, acpiMachineOf } from "../../kms/attestation/image/acpi.ts";
import { createAcpiData, recordOf } from "../../kms/attestation/image/acpi-data.ts";
import { createImageStore } from "../../kms/attestation/image/cache-images.ts";
import { createMeasurementStore } from "../../kms/attestation/image/cache-measurements.ts";
import { createLegacyCheck } from "../../kms/attestation/image/legacy.ts";
import { measureWith } from "../../kms/attestation/image/measure.ts";
import { measurementKey } from "../../kms/attestation/image/measurement-key.ts";
import { createOsImageCheck } from "../../kms/attestation/image/os-image.ts";
import { type AcpiDigests, type LaunchRegisters, sha384 } from "../../kms/attestation/image/registers.ts";
import { parseVmConfig, type VmConfig } from "../../kms/attestation/image/vm-config.ts";
import { createAuthority, MAX_DECISION_AGE_MS } from "../../kms/authorization/authority.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { createImageCache } from "../../kms/image-cache.ts";
import { type ArchiveServer, startArchiveServer } from "../support/archive-server.ts";
import { archiveOf, type ImageContent, imageCmdline, imageHashOf, metadataText, smallImage } from "../support/image-archive.ts";
import { noise } from "../support/launch-files.ts";
import { appraised } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";

const acpi: AcpiDigests = { loader: sha384(utf8("loader")), rsdp: sha384(utf8("rsdp")), tables: sha384(utf8("tables")) };
const image = smallImage();

function configOf(content: ImageContent, change: Record<string, unknown> = {}): VmConfig {
  const os_image_hash = toHex(imageHashOf(content));
  return parseVmConfig(
    JSON.stringify({ os_image_hash, cpu_count: 2, memory_size: 2147483648, qemu_version: "9.2.1", ...change }),
  );
}

function bytes(content: ImageContent, name: string): Uint8Array {
  return content[name] ?? new Uint8Array(0);
}

function registersOf(content: ImageContent, config: VmConfig): LaunchRegisters {
  const initrd = bytes(content, "initramfs.cpio.gz");
  const files = {
    firmware: bytes(content, "ovmf.fd"),
    kernel: bytes(content, "bzImage"),
    initrd: { size: initrd.length, sha384: sha384(initrd) },
    cmdline: imageCmdline,
    ovmfVariant: undefined,
    paths: { firmware: "", kernel: "", initrd: "" },
  };
  return measureWith(files, config, acpi);
}

/** The brand is forged, as in all tests of what comes after the appraisal. */
function guest(config: VmConfig, registers: LaunchRegisters): AppraisedBoot {
  const { mrtd: mrTd, ...rtmrs } = registers;
  return {
    ...appraised(),
    vmConfig: config,
    evidence: { quote: { quote: { body: { mrTd, ...rtmrs } } } },
  } as unknown as AppraisedBoot;
}

const config = configOf(image);
const registers = registersOf(image, config);
let dir: string;
let server: ArchiveServer;
let asked: number;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "kms-legacy-"));
  server = await startArchiveServer();
  serve(image);
  asked = 0;
});
afterEach(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

function serve(content: ImageContent): void {
  server.answers[`/${toHex(imageHashOf(content))}`] = archiveOf(content);
}

const known = createAcpiData(
  JSON.stringify({
    version: 1,
    entries: [
      {
        machine: recordOf(acpiMachineOf(config)),
        loader: toHex(acpi.loader),
        rsdp: toHex(acpi.rsdp),
        tables: toHex(acpi.tables),
      },
    ],
  }),
);
const counted: AcpiSource = {
  digestsOf(machine, paths) {
    asked += 1;
    return known.digestsOf(machine, paths);
  },
};

function check() {
  const images = createImageStore({ cacheDir: dir, downloadUrl: `${server.url}/{OS_IMAGE_HASH}`, timeoutMs: 10_000 });
  return createOsImageCheck(createLegacyCheck({ images, measurements: createMeasurementStore(dir), acpi: counted }));
}

const measurements = () => (existsSync(join(dir, "measurements")) ? readdirSync(join(dir, "measurements")) : []);

describe("a guest started from the image", () => {
  test("passes, is measured once, and is known after a restart", async () => {
    const first = check();
    const boot = guest(config, registers);
    await first(boot);
    await first(boot);
    await Promise.all([first(guest(config, registers)), first(guest(config, registers))]);
    expect(measurements()).toEqual([`${measurementKey(config)}.json`]);
    await check()(guest(config, registers));
    expect([asked, server.asked.length]).toEqual([1, 1]);
  });

  test("is measured again when what was kept cannot be read", async () => {
    await check()(guest(config, registers));
    for (const content of ["", "{", '{"version":2}']) {
      writeFileSync(join(dir, "measurements", `${measurementKey(config)}.json`), content);
      asked = 0;
      await check()(guest(config, registers));
      expect(asked).toBe(1);
    }
  });

  test("passes on every machine that the ACPI digests cover, and on no other", async () => {
    await check()(guest(config, registers));
    const other = configOf(image, { cpu_count: 4 });
    await expect(check()(guest(other, registersOf(image, other)))).rejects.toMatchObject({ code: "unavailable.acpi-tables" });
  });

  test("makes the KMS download and measure again after the admin cleared its caches", async () => {
    const one = check();
    const cache = createImageCache(dir);
    await one(guest(config, registers));
    await cache.clear(toHex(config.osImageHash), "all");
    expect([readdirSync(join(dir, "images")), measurements()]).toEqual([["tmp"], []]);
    await one(guest(config, registers));
    await cache.clear("all", "all");
    expect(readdirSync(dir)).toEqual([]);
    await one(guest(config, registers));
    expect([asked, server.asked.length]).toEqual([3, 3]);
  });

  test("that is refused after the image's file was changed on disk, known measurement or not", async () => {
    await check()(guest(config, registers));
    writeFileSync(join(dir, "images", toHex(config.osImageHash), "bzImage"), noise(50));
    await expect(check()(guest(config, registers))).rejects.toMatchObject({ code: "malformed.os-image" });
    rmSync(join(dir, "measurements"), { recursive: true });
    await expect(check()(guest(config, registers))).rejects.toMatchObject({ code: "malformed.os-image" });
  });
});

describe("a guest is refused", () => {
  const flipped = (content: Uint8Array, at: number) => content.map((byte, index) => (index === at ? byte ^ 1 : byte));
  test.each<[string, ImageContent, RegExp]>([
    [
      "one byte of whose firmware is another",
      smallImage({ "ovmf.fd": flipped(bytes(image, "ovmf.fd"), 0x3000) }),
      /^MRTD mismatch: expected=[0-9a-f]{96}, actual=[0-9a-f]{96}$/,
    ],
    [
      "one byte of whose kernel is another",
      smallImage({ bzImage: flipped(bytes(image, "bzImage"), 0x2100) }),
      /^RTMR1 mismatch: expected=[0-9a-f]{96}, actual=/,
    ],
    [
      "one byte of whose initrd is another",
      smallImage({ "initramfs.cpio.gz": flipped(bytes(image, "initramfs.cpio.gz"), 4999) }),
      /^RTMR2 mismatch/,
    ],
    [
      "whose command line is another",
      smallImage({ "metadata.json": utf8(metadataText({ cmdline: "quiet" })) }),
      /^RTMR2 mismatch/,
    ],
  ])("%s", async (_name, content, message) => {
    const claimed = configOf(content);
    serve(content);
    await expect(check()(guest(claimed, registers))).rejects.toMatchObject({
      code: "unproven.os-image",
      message: expect.stringMatching(message),
    });
    expect(measurements()).toEqual([]); // only what a quote confirmed is kept
    expect(asked).toBe(0); // ACPI tables, which a program makes, are for who has the rest
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    ["with another memory size", { memory_size: 4294967296 }, /ACPI data: no entry/],
    ["with the other order of pages", { qemu_single_pass_add_pages: true }, /^MRTD mismatch/],
  ])("that claims to run %s", async (_name, change, message) => {
    await expect(check()(guest(configOf(image, change), registers))).rejects.toMatchObject({
      message: expect.stringMatching(message),
    });
  });

  test.each(["mrtd", "rtmr1", "rtmr2"] as const)("whose %s is another, before ACPI tables are made for it", async (name) => {
    const other = guest(config, { ...registers, [name]: new Uint8Array(48) });
    const message = expect.stringMatching(new RegExp(`^${name.toUpperCase()} mismatch: expected=[0-9a-f]{96}, actual=0{96}$`));
    await expect(check()(other)).rejects.toMatchObject({ code: "unproven.os-image", message });
    expect(asked).toBe(0);
  });

  test("whose rtmr0 is another, once its ACPI tables are made", async () => {
    const message = expect.stringMatching(/^RTMR0 mismatch: expected=[0-9a-f]{96}, actual=0{96}$/);
    const other = guest(config, { ...registers, rtmr0: new Uint8Array(48) });
    await expect(check()(other)).rejects.toMatchObject({ code: "unproven.os-image", message });
    expect(asked).toBe(1);
  });

  test("and the guest that has the image, asking for the same at the same time, is not", async () => {
    const one = check();
    const liar = one(guest(config, { ...registers, rtmr1: new Uint8Array(48) }));
    await Promise.all([one(guest(config, registers)), expect(liar).rejects.toMatchObject({ code: "unproven.os-image" })]);
  });

  test("that names no image, without a request", async () => {
    const nameless = parseVmConfig(JSON.stringify({ cpu_count: 2, memory_size: 2147483648 }));
    await expect(check()(guest(nameless, registers))).rejects.toMatchObject({ code: "unproven.os-image" });
    expect(server.asked).toEqual([]);
  });

  test("whose image nobody has", async () => {
    server.answers = {};
    await expect(check()(guest(config, registers))).rejects.toMatchObject({ code: "unavailable.os-image" });
  });
});

describe("the policy", () => {
  let clock: number;
  let decisions: boolean[];
  let questions: number;

  const authority = () =>
    createAuthority({
      policy: {
        async ask() {
          questions += 1;
          return decisions.shift() === false
            ? { allowed: false, reason: "OS image is not allowed", unavailable: false }
            : { allowed: true, gatewayAppId: "any" };
        },
        info: () => Promise.reject(new Error("not asked")),
      },
      measure: check(),
      selfBoot: undefined,
      clock: () => clock,
    });

  beforeEach(() => {
    clock = 0;
    questions = 0;
    decisions = [];
  });

  test("that says no keeps this KMS from downloading anything", async () => {
    decisions = [false];
    expect((await refusal(authority().authorizeApp(guest(config, registers)))).code).toBe("denied.policy");
    expect(server.asked).toEqual([]);
    expect(readdirSync(dir)).toEqual([]);
  });

  test("is asked again after a slow download, and may have changed its mind", async () => {
    server.answers[`/${toHex(config.osImageHash)}`] = (_request, response) => {
      clock += MAX_DECISION_AGE_MS + 1;
      response.end(archiveOf(image));
    };
    decisions = [true, false];
    expect((await refusal(authority().authorizeApp(guest(config, registers)))).code).toBe("denied.policy");
    expect(questions).toBe(2);
    await authority().authorizeApp(guest(config, registers));
    expect([questions, server.asked.length]).toEqual([3, 1]);
  });

  test("is told of the image whose measurements were wrong, in the words of the wire", async () => {
    const other = { ...registers, rtmr1: new Uint8Array(48) };
    const said = await refusal(authority().authorizeApp(guest(config, other)));
    const values = `expected=${toHex(registers.rtmr1)}, actual=${"00".repeat(48)}`;
    const phrase = "Failed to verify os image hash";
    expect(said).toEqual({ code: "unproven.os-image", message: `${phrase}: ${phrase}: RTMR1 mismatch: ${values}` });
  });
});

test("a hostile app, whose guest says it is another machine each time, does not keep the guests of others waiting in line", async () => {
  const images = createImageStore({ cacheDir: dir, downloadUrl: `${server.url}/{OS_IMAGE_HASH}`, timeoutMs: 10_000 });
  const gate = Promise.withResolvers<void>();
  const slow: AcpiSource = { digestsOf: (machine, paths) => gate.promise.then(() => known.digestsOf(machine, paths)) };
  const legacy = createOsImageCheck(createLegacyCheck({ images, measurements: createMeasurementStore(dir), acpi: slow }));
  const of = (app: number, boot: AppraisedBoot) =>
    ({ ...boot, info: { ...boot.info, appId: new Uint8Array(20).fill(app) } }) as AppraisedBoot;
  const hostile = Array.from({ length: 12 }, (_, at) =>
    refusal(legacy(of(1, guest(configOf(image, { cpu_count: 100 + at }), registers))) ?? Promise.resolve()),
  );
  const honest = legacy(of(2, guest(config, registers)));
  const turnedAway = await Promise.race(hostile);
  expect(turnedAway.code).toBe("unavailable.overloaded");
  gate.resolve();
  await honest;
  const codes = (await Promise.all(hostile)).map(({ code }) => code);
  expect(codes.filter((code) => code === "unavailable.overloaded")).toHaveLength(4);
});

test("the many guests of one app do not keep those of others from waiting for a slow download", async () => {
  const gate = Promise.withResolvers<void>();
  server.answers[`/${toHex(config.osImageHash)}`] = (_request, response) =>
    void gate.promise.then(() => response.end(archiveOf(image)));
  const one = check();
  const ask = async (app: number) => {
    const boot = guest(config, registers);
    await one({ ...boot, info: { ...boot.info, appId: new Uint8Array(20).fill(app) } } as AppraisedBoot);
    return "passed";
  };
  const many = Array.from({ length: 70 }, () => ask(1).catch(({ code }: { code: string }) => code));
  expect(await Promise.race(many)).toBe("unavailable.overloaded");
  const other = ask(2);
  gate.resolve();
  expect(await other).toBe("passed");
  const ends = await Promise.all(many);
  expect([ends.filter((end) => end === "passed"), server.asked.length]).toEqual([Array(16).fill("passed"), 1]);
});

test("a caller waits once for download, hashing and measuring together", async () => {
  const patienceMs = 2_000;
  const store = createImageStore({ cacheDir: dir, downloadUrl: `${server.url}/{OS_IMAGE_HASH}`, timeoutMs: 10_000 });
  let opened = 0;
  const slow = {
    async open(osImageHash: Uint8Array, app: string, until: number) {
      const found = await store.open(osImageHash, app);
      await new Promise((resolve) => setTimeout(resolve, until - performance.now()));
      opened = performance.now();
      return found;
    },
  };
  const never: AcpiSource = { digestsOf: () => new Promise(() => undefined) };
  const settings = { images: slow, measurements: createMeasurementStore(dir), acpi: never, patienceMs };
  const said = await refusal(createOsImageCheck(createLegacyCheck(settings))(guest(config, registers)) ?? Promise.resolve());
  expect(said.code).toBe("unavailable.timeout");
  expect(performance.now() - opened).toBeLessThan(patienceMs);
});

test("a kept measurement is what was computed, and nothing of the caller's", async () => {
  await check()(guest(config, registers));
  const kept: unknown = JSON.parse(readFileSync(join(dir, "measurements", `${measurementKey(config)}.json`), "utf8"));
  const { mrtd, rtmr0, rtmr1, rtmr2 } = registers;
  expect(kept).toEqual({
    version: 3,
    measurements: { mrtd: toHex(mrtd), rtmr0: toHex(rtmr0), rtmr1: toHex(rtmr1), rtmr2: toHex(rtmr2) },
  });
});
