/** A made-up OS image in the lite form: its measurement document, its sha256sum.txt, and the registers a TD started from it has. */
import { createHash } from "node:crypto";
import { encode } from "cborg";
import { expectedLiteRegisters, parseLiteDocument } from "../../kms/attestation/image/lite.ts";
import type { AcpiDigests } from "../../kms/attestation/image/registers.ts";
import { toHex } from "../../kms/bytes.ts";

export interface VmShape {
  readonly cpuCount: number;
  /** 2 GiB or at least 0xB0000000 bytes: what the lite form covers. */
  readonly memorySize: number;
}

export interface LiteImage {
  readonly name: string;
  readonly osImageHash: Uint8Array;
  readonly checksumFile: Uint8Array;
  readonly measurement: Uint8Array;
}

export interface LaunchRegisters {
  readonly mrTd: Uint8Array;
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array];
  readonly acpi: readonly { readonly name: "acpi-loader" | "acpi-rsdp" | "acpi-tables"; readonly digest: Uint8Array }[];
}

/** A VM as it comes up: what it says of itself, and what is in its registers. */
export interface Launched {
  readonly osImageHash: Uint8Array;
  readonly vmConfig: string;
  readonly registers: LaunchRegisters;
}

export const qemuVersion = "9.2.1";
export const ovmfVariant = "pre202505";
/** Where today's firmware keeps its HOB and temporary memory, as a compact witness (tdx-attestation 4.5). */
const tdHobWitness = Uint8Array.from(Buffer.from("80100904000609020b021010", "hex"));

const sha = (hash: "sha256" | "sha384", data: string | Uint8Array): Uint8Array =>
  new Uint8Array(createHash(hash).update(data).digest());

export function createLiteImage(name: string): LiteImage {
  const digest = (part: string) => sha("sha384", `${name}/${part}`);
  const measurement = encode({
    version: 3,
    image: {
      cmdline_sha384: digest("cmdline"),
      kernel_authenticode: digest("bzImage"),
      initrd_sha384: digest("initramfs.cpio.gz"),
    },
    tdvf: {
      ovmf: ovmfVariant,
      mrtd: { single_pass: digest("ovmf.fd single pass"), two_pass: digest("ovmf.fd two pass") },
      td_hob: tdHobWitness,
    },
  });
  const files = ["ovmf.fd", "bzImage", "initramfs.cpio.gz", "metadata.json"];
  const lines = files.map((file) => `${toHex(sha("sha256", `${name}/${file}`))}  ${file}\n`);
  const checksumFile = new TextEncoder().encode(`${lines.join("")}${toHex(sha("sha256", measurement))}  measurement.tdx.cbor\n`);
  return { name, osImageHash: sha("sha256", checksumFile), checksumFile, measurement };
}

/** What the firmware and kernel of the image would have measured in a VM of this shape. */
export function launch(image: LiteImage, shape: VmShape): LaunchRegisters {
  const acpi = acpiBlobs(shape);
  const expected = expectedLiteRegisters(parseLiteDocument(image.measurement), {
    memorySize: BigInt(shape.memorySize),
    twoPass: false, // QEMU 9
    acpi,
  });
  return {
    mrTd: expected.mrtd,
    rtmrs: [expected.rtmr0, expected.rtmr1, expected.rtmr2],
    acpi: [
      { name: "acpi-loader", digest: acpi.loader },
      { name: "acpi-rsdp", digest: acpi.rsdp },
      { name: "acpi-tables", digest: acpi.tables },
    ],
  };
}

/** Digests of blobs that nobody made: there is no QEMU here. */
export function acpiBlobs(shape: VmShape): AcpiDigests {
  const blob = (part: string) => sha("sha384", `acpi ${part} of ${shape.cpuCount} cpus and ${shape.memorySize} bytes`);
  return { loader: blob("loader"), rsdp: blob("rsdp"), tables: blob("tables") };
}

export function vmConfigText(image: LiteImage, shape: VmShape): string {
  return JSON.stringify({
    spec_version: 1,
    os_image_hash: toHex(image.osImageHash),
    cpu_count: shape.cpuCount,
    memory_size: shape.memorySize,
    qemu_version: qemuVersion,
    pci_hole64_size: 0,
    hugepages: false,
    num_gpus: 0,
    num_nvswitches: 0,
    hotplug_off: false,
    image: image.name,
    host_share_mode: "9p",
    ovmf_variant: ovmfVariant,
    tdx_attestation_variant: "lite",
    tdx_measurement: {
      checksum_file: Buffer.from(image.checksumFile).toString("base64"),
      measurement: Buffer.from(image.measurement).toString("base64"),
    },
  });
}
