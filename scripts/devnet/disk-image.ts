/** An OS image made of real files: its folder as a release has it, and the registers that a TD started from it has in either form of attestation. */
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { acpiMachineOf } from "../../kms/attestation/image/acpi.ts";
import { recordOf } from "../../kms/attestation/image/acpi-data.ts";
import { loadImage, loadImageFiles } from "../../kms/attestation/image/cache-load.ts";
import { encodeLiteDocument, LITE_DOCUMENT_NAME } from "../../kms/attestation/image/lite.ts";
import { MANIFEST_NAME, METADATA_NAME, parseManifest } from "../../kms/attestation/image/manifest.ts";
import { liteDocumentOf, measureWith } from "../../kms/attestation/image/measure.ts";
import { parseVmConfig } from "../../kms/attestation/image/vm-config.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { acpiBlobs, type Launched, qemuVersion, type VmShape } from "./lite-image.ts";

export interface ImageSources {
  readonly firmware: string;
  readonly kernel: string;
  readonly initrd: string;
}

export type AttestationVariant = "legacy" | "lite";

const names = { firmware: "ovmf.fd", kernel: "bzImage", initrd: "initramfs.cpio.gz" } as const;
const cmdline = "console=ttyS0 dstack.rootfs_hash=0000000000000000000000000000000000000000000000000000000000000000";

/** Writes the folder: the three files, metadata, lite document and manifest, the manifest last. */
export async function writeDiskImage(dir: string, sources: ImageSources): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const role of ["firmware", "kernel", "initrd"] as const) await copyFile(sources[role], join(dir, names[role]));
  const { firmware: bios, kernel, initrd } = names;
  await writeFile(join(dir, METADATA_NAME), JSON.stringify({ cmdline, kernel, initrd, bios, version: "0.0.0", is_dev: true }));
  const measured = [bios, kernel, initrd, METADATA_NAME];
  const manifest = await manifestOf(dir, measured);
  const files = await loadImageFiles(dir, parseManifest(utf8(manifest)));
  await writeFile(join(dir, LITE_DOCUMENT_NAME), encodeLiteDocument(liteDocumentOf(files)));
  await writeFile(join(dir, MANIFEST_NAME), await manifestOf(dir, [...measured, LITE_DOCUMENT_NAME]));
}

async function manifestOf(dir: string, files: readonly string[]): Promise<string> {
  const lines = files.map(async (name) => {
    const hash = createHash("sha256").update(await readFile(join(dir, name)));
    return `${hash.digest("hex")}  ${name}\n`;
  });
  return (await Promise.all(lines)).join("");
}

/** What firmware and kernel in the folder measure in a VM of this shape, and the configuration that goes with it. */
export async function launchDiskImage(dir: string, shape: VmShape, variant: AttestationVariant): Promise<Launched> {
  const { osImageHash, files } = await loadImage(dir);
  const vmConfig = JSON.stringify({
    spec_version: 1,
    os_image_hash: toHex(osImageHash),
    cpu_count: shape.cpuCount,
    memory_size: shape.memorySize,
    qemu_version: qemuVersion,
    host_share_mode: "9p",
    ...(variant === "legacy" ? {} : await liteMembers(dir)),
  });
  const acpi = acpiBlobs(shape);
  const { mrtd, rtmr0, rtmr1, rtmr2 } = measureWith(files, parseVmConfig(vmConfig), acpi);
  const events = (["loader", "rsdp", "tables"] as const).map((part) => ({ name: `acpi-${part}` as const, digest: acpi[part] }));
  return { osImageHash, vmConfig, registers: { mrTd: mrtd, rtmrs: [rtmr0, rtmr1, rtmr2], acpi: events } };
}

async function liteMembers(dir: string): Promise<object> {
  const base64 = async (name: string) => (await readFile(join(dir, name))).toString("base64");
  const document = { checksum_file: await base64(MANIFEST_NAME), measurement: await base64(LITE_DOCUMENT_NAME) };
  return { tdx_attestation_variant: "lite", tdx_measurement: document };
}

/** The file for `core.image.acpi_data` with which a KMS knows the machines of these launches. */
export function acpiDataText(launches: readonly (readonly [Launched, VmShape])[]): string {
  const entries = launches.map(([{ vmConfig }, shape]) => {
    const { loader, rsdp, tables } = acpiBlobs(shape);
    const machine = recordOf(acpiMachineOf(parseVmConfig(vmConfig)));
    return { machine, loader: toHex(loader), rsdp: toHex(rsdp), tables: toHex(tables) };
  });
  return `${JSON.stringify({ version: 1, entries }, null, 2)}\n`;
}
