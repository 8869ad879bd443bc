/** The bench of image measurement: a 100 MiB image beside the bare hashing of its files, which it cannot do without. */
import { createHash } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { loadImage } from "../kms/attestation/image/cache-load.ts";
import type { ImageFiles } from "../kms/attestation/image/image-files.ts";
import { measureWith } from "../kms/attestation/image/measure.ts";
import { parseVmConfig } from "../kms/attestation/image/vm-config.ts";
import { metadataText, smallImage } from "../test/support/image-archive.ts";
import { firmwareOf, kernelOf, usualSections } from "../test/support/launch-files.ts";

const MIB = 1024 * 1024;
const READ_BYTES = MIB;
const names = ["ovmf.fd", "bzImage", "initramfs.cpio.gz"] as const;
/** Sizes of a published image, with an initrd that makes 100 MiB of it. */
const sizes = { firmware: 2 * MIB, kernel: 14 * MIB, initrd: 84 * MIB };

export interface ImageSettings {
  readonly rounds: number;
}

type Row = "SHA-384 of the files" | "measured" | "SHA-256 and SHA-384 of the files" | "proved and measured";

export interface ImageReport {
  readonly rows: readonly { readonly name: Row; readonly milliseconds: number; readonly turns: readonly number[] }[];
  readonly targets: readonly { readonly name: string; readonly wanted: string; readonly came: number; readonly isMet: boolean }[];
}

export async function benchImage({ rounds }: ImageSettings, note: (sentence: string) => void): Promise<ImageReport> {
  const dir = mkdtempSync(join(tmpdir(), "keyward-bench-image-"));
  try {
    note("an image of 100 MiB");
    writeImage(dir);
    const collectGarbage = garbageCollector();
    const contenders = contendersOf(dir);
    const turns = new Map<Row, number[]>(contenders.map(([name]) => [name, []]));
    for (const [, run] of contenders) await run();
    for (let round = 1; round <= rounds; round++) {
      note(`image, round ${round} of ${rounds}`);
      for (const [name, run] of contenders) {
        // or a turn would pay for what the one before it left
        collectGarbage();
        turns.get(name)?.push(await cpuMilliseconds(run));
      }
    }
    return reportOf(turns);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** The engine's own, which Node has behind a flag. */
function garbageCollector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}

/** CPU time, of reading threads as well: others on the machine do not count. */
async function cpuMilliseconds(run: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function writeImage(dir: string): void {
  const body = sizes.firmware - 0x20000;
  const volume = {
    dataOffset: 0x20000,
    rawSize: body,
    address: 0x1_0000_0000n - BigInt(body),
    memorySize: BigInt(body),
    type: 0,
    attributes: 1,
  };
  const variables = { dataOffset: 0, rawSize: 0x20000, address: 0xffe00000n, memorySize: 0x20000n, type: 1, attributes: 0 };
  const image = smallImage({
    "ovmf.fd": firmwareOf({ size: sizes.firmware, sections: [volume, variables, ...usualSections.slice(2)] }),
    bzImage: kernelOf({ size: sizes.kernel }),
    "initramfs.cpio.gz": new Uint8Array(sizes.initrd).fill(0x5a),
    "metadata.json": new TextEncoder().encode(metadataText()),
  });
  mkdirSync(dir, { recursive: true });
  for (const [name, content] of Object.entries(image)) writeFileSync(join(dir, name), content);
}

function contendersOf(dir: string): [Row, () => Promise<void>][] {
  const config = parseVmConfig('{"cpu_count":2,"memory_size":2147483648,"qemu_version":"9.2.1"}');
  const digest = new Uint8Array(48);
  const acpi = { loader: digest, rsdp: digest, tables: digest };
  return [
    ["SHA-384 of the files", async () => names.forEach((name) => void hashFile(join(dir, name), ["sha384"]))],
    ["measured", async () => void measureWith(unprovenFiles(dir), config, acpi)],
    [
      "SHA-256 and SHA-384 of the files",
      async () => names.forEach((name) => void hashFile(join(dir, name), ["sha256", "sha384"])),
    ],
    ["proved and measured", async () => void measureWith((await loadImage(dir)).files, config, acpi)],
  ];
}

/** Without the manifest, which asks for another hash of every file. */
function unprovenFiles(dir: string): ImageFiles {
  const paths = { firmware: join(dir, "ovmf.fd"), kernel: join(dir, "bzImage"), initrd: join(dir, "initramfs.cpio.gz") };
  const { size, digests } = hashFile(paths.initrd, ["sha384"]);
  return {
    firmware: readFileSync(paths.firmware),
    kernel: readFileSync(paths.kernel),
    initrd: { size, sha384: digests[0] ?? new Uint8Array(0) },
    cmdline: "console=ttyS0",
    ovmfVariant: undefined,
    paths,
  };
}

function hashFile(path: string, algorithms: readonly string[]): { size: number; digests: Uint8Array[] } {
  const hashes = algorithms.map((algorithm) => createHash(algorithm));
  const buffer = new Uint8Array(READ_BYTES);
  const file = openSync(path, "r");
  let size = 0;
  for (let read = readSync(file, buffer); read > 0; read = readSync(file, buffer)) {
    for (const hash of hashes) hash.update(buffer.subarray(0, read));
    size += read;
  }
  closeSync(file);
  return { size, digests: hashes.map((hash) => new Uint8Array(hash.digest())) };
}

function reportOf(turns: ReadonlyMap<Row, readonly number[]>): ImageReport {
  // the least of the turns: whatever else the machine does can only add to a turn
  const rows = [...turns].map(([name, values]) => ({ name, milliseconds: Math.min(...values), turns: values }));
  const target = (name: string, upper: Row, lower: Row) => {
    const least = (row: Row) => Math.min(...(turns.get(row) ?? []));
    const came = least(upper) / least(lower);
    return { name, wanted: "at most 1.3", came, isMet: came <= 1.3 };
  };
  return {
    rows,
    targets: [
      target("measuring to SHA-384 of the files", "measured", "SHA-384 of the files"),
      target("proving and measuring to both hashes of the files", "proved and measured", "SHA-256 and SHA-384 of the files"),
    ],
  };
}

export function imageTextOf({ rows, targets }: ImageReport): string {
  const line = (name: string, value: string) => `${name.padEnd(58)}${value}`;
  return [
    line("an image of 100 MiB", "CPU ms"),
    ...rows.map(({ name, milliseconds }) => line(`  ${name}`, milliseconds.toFixed(0))),
    "",
    ...targets.map(
      ({ name, wanted, came, isMet }) => `  ${isMet ? "met    " : "not met"}  ${name}: ${came.toFixed(2)}, ${wanted} wanted`,
    ),
  ].join("\n");
}
