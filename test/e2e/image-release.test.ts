/** A KMS process that verifies OS images, and guests whose registers come from the files of one: released in both forms, refused after any byte of them changed. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { toHex } from "../../kms/bytes.ts";
import { createGuestAgent } from "../../kms/ra-tls/guest-agent.ts";
import {
  type AttestationVariant,
  acpiDataText,
  type ImageSources,
  launchDiskImage,
  writeDiskImage,
} from "../../scripts/devnet/disk-image.ts";
import { createGuestAgentServer } from "../../scripts/devnet/guest-agent.ts";
import type { Launched, VmShape } from "../../scripts/devnet/lite-image.ts";
import { requestKeys } from "../../scripts/get-keys-flow.ts";
import { denyBody, infoBody } from "../kms/support/webhook.ts";
import { listening, type ServedKms, serveKms } from "../scripts/support/served-kms.ts";
import { type ArchiveServer, startArchiveServer } from "../support/archive-server.ts";
import { ask } from "../support/http-client.ts";
import { madeUpImageFiles, realImageFiles, withRealFiles } from "../support/real-image-files.ts";
import { gib, simulatedTd } from "../support/simulated-td.ts";

const shapes: readonly VmShape[] = [
  { cpuCount: 2, memorySize: 2 * gib },
  { cpuCount: 16, memorySize: 64 * gib },
];
const [small, large] = shapes as [VmShape, VmShape];
const variants: readonly AttestationVariant[] = ["legacy", "lite"];
const files = ["firmware", "kernel", "initrd"] as const;

let dir: string;
let server: ArchiveServer;
let kms: ServedKms;
let imageDir: string;
let guests = 0;

const pathOf = (launched: Launched) => `/${toHex(launched.osImageHash)}.tar.gz`;

/** As an operator packs a release folder for the mirror. */
function archived(folder: string): Uint8Array {
  return new Uint8Array(execFileSync("tar", ["-cz", "-C", folder, "."], { maxBuffer: 256 * 1024 * 1024 }));
}

async function start(sources: ImageSources): Promise<void> {
  dir = mkdtempSync(join(tmpdir(), "image-release-"));
  imageDir = join(dir, "image");
  await writeDiskImage(imageDir, sources);
  server = await startArchiveServer();
  const launches = await Promise.all(shapes.map((shape) => launchDiskImage(imageDir, shape, "legacy")));
  const acpiFile = join(dir, "acpi.json");
  writeFileSync(acpiFile, acpiDataText(launches.map((launched, index) => [launched, shapes[index] ?? small])));
  kms = await serveKms(`[core.image]
cache_dir = "${join(dir, "cache")}"
download_url = "${server.url}/{OS_IMAGE_HASH}.tar.gz"
acpi_data = "${acpiFile}"`);
  server.answers[pathOf(launches[0] as Launched)] = archived(imageDir);
}

async function stop(): Promise<void> {
  await kms?.close();
  await server?.close();
  rmSync(dir, { recursive: true, force: true });
}

/** What a guest that came up like this gets: its key, or the words of the refusal. */
async function released(launched: Launched): Promise<string> {
  guests += 1;
  const app = simulatedTd({ launched, appCompose: `{"guest":${guests}}` });
  const socket = join(dir, `guest-${guests}.sock`);
  const agent = await listening(createGuestAgentServer(app, { appName: "guest", version: "0" }), socket);
  const rootCaPem = readFileSync(kms.rootCaFile, "utf8");
  const request = { kmsUrl: kms.url, rootCaPem, appId: app.appId, k256Root: Buffer.from(kms.k256Root, "hex") };
  try {
    const collaborators = { agent: createGuestAgent(`unix:${socket}`), verifier: undefined, tunnel: undefined };
    const { keys } = await requestKeys(request, { ...collaborators, now: () => new Date() });
    return keys.k256_key.length > 0 ? "released" : "nothing";
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : "thrown";
  } finally {
    agent.close().closeAllConnections();
  }
}

/** A host that starts other files than those of the image it names: one byte in the middle of one. */
async function startedFrom(changed: (typeof files)[number], sources: ImageSources, shape: VmShape, variant: AttestationVariant) {
  const bytes = readFileSync(sources[changed]);
  const at = changed === "firmware" ? bytes.length - 0x1800 : Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  const copy = join(dir, `changed-${changed}`);
  writeFileSync(copy, bytes);
  const folder = join(dir, `other-${changed}`);
  await writeDiskImage(folder, { ...sources, [changed]: copy });
  const claimed = await launchDiskImage(imageDir, shape, variant);
  const { registers } = await launchDiskImage(folder, shape, variant);
  return { ...claimed, registers };
}

const register = { firmware: "MRTD", kernel: "RTMR1", initrd: "RTMR2" };

function suite(sources: ImageSources): void {
  beforeAll(() => start(sources));
  afterAll(stop);

  test("a denied guest makes the KMS download nothing", async () => {
    kms.around.webhook.respond = ({ method, path }) => {
      if (method === "GET") return { status: 200, body: infoBody };
      return path.endsWith("/app") ? { status: 200, body: denyBody("OS image is not allowed") } : undefined;
    };
    expect(await released(await launchDiskImage(imageDir, small, "legacy"))).toContain("OS image is not allowed");
    kms.around.webhook.respond = ({ method }) => (method === "GET" ? { status: 200, body: infoBody } : undefined);
    expect(server.asked).toEqual([]);
  });

  test.each(variants)("keys are released to guests of either size, %s", async (variant) => {
    for (const shape of shapes) expect(await released(await launchDiskImage(imageDir, shape, variant))).toBe("released");
  });

  test("the image was downloaded once, and what was measured is kept", async () => {
    expect(server.asked).toHaveLength(1);
    expect(readdirSync(join(dir, "cache", "measurements"))).toHaveLength(2);
    const { text } = await ask(kms.url, "/metrics", { tls: { rejectUnauthorized: false } });
    expect(text).toContain("keyward_kms_image_downloads_total 1\n");
    expect(text).toContain("keyward_kms_image_download_failures_total 0\n");
  });

  describe.each(variants)("no key is released, %s,", (variant) => {
    test.each(files)("to a guest started with one byte of the %s changed", async (changed) => {
      const said = await released(await startedFrom(changed, sources, large, variant));
      expect(said).toMatch(new RegExp(`${register[changed]} mismatch: expected=[0-9a-f]{96}, actual=[0-9a-f]{96}`));
    });
  });

  test("no key is released on a machine whose ACPI tables nobody knows", async () => {
    const unknown = await launchDiskImage(imageDir, { cpuCount: 3, memorySize: 2 * gib }, "legacy");
    expect(await released(unknown)).toContain("no entry for");
    const lite = await launchDiskImage(imageDir, { cpuCount: 3, memorySize: 2 * gib }, "lite");
    expect(await released(lite)).toBe("released"); // whose digests the quoted register confirms
  });

  test("no key is released after a byte of the cached image changed, until it is fetched anew", async () => {
    const launched = await launchDiskImage(imageDir, small, "legacy");
    const cached = join(dir, "cache", "images", toHex(launched.osImageHash));
    const initrd = join(cached, "initramfs.cpio.gz");
    const bytes = readFileSync(initrd);
    bytes[7] = (bytes[7] ?? 0) ^ 1;
    writeFileSync(initrd, bytes);
    expect(await released(launched)).toMatch(/initramfs\.cpio\.gz mismatch: .*ClearImageCache/);
    rmSync(cached, { recursive: true });
    expect(await released(launched)).toBe("released");
  });

  test("no key is released while the mirror has the image with a byte changed, or not at all", async () => {
    const launched = await launchDiskImage(imageDir, small, "legacy");
    const good = server.answers[pathOf(launched)];
    const spoilt = join(dir, "spoilt");
    execFileSync("cp", ["-r", imageDir, spoilt]);
    const kernel = readFileSync(join(spoilt, "bzImage"));
    kernel[0x1234] = (kernel[0x1234] ?? 0) ^ 1;
    writeFileSync(join(spoilt, "bzImage"), kernel);
    rmSync(join(dir, "cache"), { recursive: true });
    server.answers[pathOf(launched)] = archived(spoilt);
    const actual = createHash("sha256").update(kernel).digest("hex");
    expect(await released(launched)).toMatch(new RegExp(`bzImage mismatch: expected=[0-9a-f]{64}, actual=${actual}`));
    delete server.answers[pathOf(launched)];
    expect(await released(launched)).toContain("the OS image cannot be downloaded: status 404");
    if (good !== undefined) server.answers[pathOf(launched)] = good;
    expect(await released(launched)).toBe("released");
  });
}

describe("with made-up files", () => {
  const madeUp = madeUpImageFiles();
  suite(madeUp);
  afterAll(() => madeUp.remove());
});

describe.skipIf(realImageFiles === undefined)(`with ${withRealFiles}`, () => {
  if (realImageFiles !== undefined) suite(realImageFiles);
  else test.todo("keys are released");
});
