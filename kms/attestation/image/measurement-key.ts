/** The name under which a measurement is kept: SHA-256 of the compact JSON of the VM configuration, as dstack writes it. */
import { createHash } from "node:crypto";
import { toHex } from "../../bytes.ts";
import type { MeasurementMaterial, VmConfig } from "./vm-config.ts";

/** Members in dstack's order; JSON leaves out those that are undefined. Every input of a measurement is among them. */
export function vmConfigJson(config: VmConfig): string {
  return JSON.stringify({
    os_image_hash: toHex(config.osImageHash),
    cpu_count: config.cpuCount,
    memory_size: config.memorySize,
    qemu_single_pass_add_pages: config.qemuSinglePassAddPages,
    pic: config.pic,
    qemu_version: config.qemuVersion,
    pci_hole64_size: config.pciHole64Size,
    hugepages: config.hugepages,
    num_gpus: config.numGpus,
    num_nvswitches: config.numNvswitches,
    num_nics: unless(1, config.numNics),
    num_verity_volumes: unless(0, config.numVerityVolumes),
    swtpm: unless(false, config.swtpm),
    hotplug_off: config.hotplugOff,
    image: config.image,
    host_share_mode: config.hostShareMode,
    ovmf_variant: config.ovmfVariant,
    tdx_attestation_variant: unless("legacy", config.tdxAttestationVariant),
    tdx_measurement: material(config.tdxMeasurement),
    gcp_measurement: material(config.gcpMeasurement),
    aws_measurement: material(config.awsMeasurement),
  });
}

/** Lower-case hex. */
export function measurementKey(config: VmConfig): string {
  return createHash("sha256").update(vmConfigJson(config)).digest("hex");
}

function unless<T>(omitted: T, value: T): T | undefined {
  return value === omitted ? undefined : value;
}

function material(value: MeasurementMaterial | undefined) {
  return (
    value && {
      checksum_file: Buffer.from(value.checksumFile).toString("base64"),
      measurement: Buffer.from(value.measurement).toString("base64"),
    }
  );
}
