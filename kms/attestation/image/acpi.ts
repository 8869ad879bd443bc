/** Where the digests of the ACPI blobs come from, and what of a VM configuration decides about them. */
import { KmsError } from "../../errors.ts";
import type { ImagePaths } from "./image-files.ts";
import { effectiveQemu } from "./qemu-version.ts";
import type { AcpiDigests } from "./registers.ts";
import type { VmConfig } from "./vm-config.ts";

/** The machine that QEMU describes to the firmware, with all defaults filled in: equal machines have equal tables. */
export interface AcpiMachine {
  readonly qemuVersion: string;
  readonly cpuCount: number;
  readonly memorySize: number;
  readonly pic: boolean;
  readonly hugepages: boolean;
  readonly numGpus: number;
  readonly numNvswitches: number;
  readonly numNics: number;
  readonly numVerityVolumes: number;
  readonly hotplugOff: boolean;
  readonly pciHole64Size: number;
  readonly hostShareMode: "9p" | "disk";
}

export interface AcpiSource {
  digestsOf(machine: AcpiMachine, paths: ImagePaths): Promise<AcpiDigests>;
}

/** More than any machine has: each device is an argument of a program. */
const MAX_CPUS = 4096;
const MAX_DEVICES = 64;

export function acpiMachineOf(config: VmConfig): AcpiMachine {
  if (config.swtpm) throw refuse("swtpm: no expected measurements with a software TPM");
  if (config.cpuCount === 0) throw refuse("cpu_count: need at least 1");
  atMost(MAX_CPUS, { cpu_count: config.cpuCount });
  const { numGpus, numNvswitches, numNics, numVerityVolumes } = config;
  const devices = { num_gpus: numGpus, num_nvswitches: numNvswitches, num_nics: numNics, num_verity_volumes: numVerityVolumes };
  atMost(MAX_DEVICES, devices);
  const qemu = effectiveQemu(config);
  return {
    qemuVersion: qemu.version,
    cpuCount: config.cpuCount,
    memorySize: config.memorySize,
    pic: qemu.pic,
    hugepages: config.hugepages,
    numGpus,
    numNvswitches,
    numNics,
    numVerityVolumes,
    hotplugOff: config.hotplugOff,
    pciHole64Size: config.pciHole64Size,
    hostShareMode: shareMode(config.hostShareMode),
  };
}

/** Both disk formats are one device to the guest. */
function shareMode(mode: string): AcpiMachine["hostShareMode"] {
  if (mode === "" || mode === "9p") return "9p";
  if (mode === "vvfat" || mode === "vhd") return "disk";
  throw refuse("host_share_mode: need 9p, vvfat or vhd");
}

function atMost(most: number, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (value > most) throw refuse(`${name}: need at most ${most}, have ${value}`);
  }
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.vm-config", message);
}
