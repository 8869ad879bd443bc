/** The arguments for `dstack-acpi-tables`, the QEMU that builds a machine, writes its ACPI tables and ends. */
import type { AcpiMachine } from "./acpi.ts";
import type { ImagePaths } from "./image-files.ts";

const MIB = 1024 * 1024;

/** In the order of the launcher of dstack, as the order of devices decides where on the bus they are. */
export function acpiArguments(machine: AcpiMachine, paths: ImagePaths): string[] {
  return [
    ...base(machine, paths),
    ...disk("hd1", paths.firmware),
    ...repeated(machine.numVerityVolumes, (volume) => disk(`vol${volume}`, paths.firmware)),
    ...repeated(machine.numNics, (nic) => ["-netdev", `user,id=net${nic}`, ...device(`virtio-net-pci,netdev=net${nic}`)]),
    ...["-object", "tdx-guest,id=tdx", ...device("vhost-vsock-pci,guest-cid=3")],
    ...share(machine, paths),
    ...disk("hd0", paths.firmware),
    "-machine",
    `q35,kernel-irqchip=split,confidential-guest-support=tdx,hpet=off,smm=off,pic=${machine.pic ? "on" : "off"}`,
    ...hugePages(machine),
    ...passedThrough(machine),
    ...(machine.hotplugOff ? ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"] : []),
    ...(machine.pciHole64Size > 0 ? ["-global", `q35-pcihost.pci-hole64-size=0x${machine.pciHole64Size.toString(16)}`] : []),
  ];
}

function base({ cpuCount, memorySize }: AcpiMachine, { firmware, kernel, initrd }: ImagePaths): string[] {
  const console = ["-nographic", "-nodefaults", "-serial", "stdio"];
  const size = ["-smp", String(cpuCount), "-m", mebibytes(memorySize)];
  return ["-cpu", "qemu64", ...size, ...console, "-bios", firmware, "-kernel", kernel, "-initrd", initrd];
}

/** Any readable file will do, as no table tells its content. */
function disk(id: string, file: string): string[] {
  return ["-drive", `file=${escaped(file)},if=none,id=${id},format=raw,readonly=on`, ...device(`virtio-blk-pci,drive=${id}`)];
}

function share({ hostShareMode }: AcpiMachine, { firmware }: ImagePaths): string[] {
  if (hostShareMode === "disk") return disk("hd2", firmware);
  const folder = firmware.slice(0, Math.max(firmware.lastIndexOf("/"), 0)) || (firmware.startsWith("/") ? "/" : ".");
  const options = "mount_tag=host-shared,readonly=on,security_model=none,id=virtfs0";
  return ["-virtfs", `local,path=${escaped(folder)},${options}`];
}

function hugePages({ hugepages, cpuCount, memorySize }: AcpiMachine): string[] {
  if (!hugepages) return [];
  const options = "mem-path=/dev/hugepages,share=on,prealloc=no,host-nodes=0,policy=bind";
  const backend = `memory-backend-file,id=mem0,size=${mebibytes(memorySize)},${options}`;
  return ["-numa", `node,nodeid=0,cpus=0-${cpuCount - 1},memdev=mem0`, "-object", backend];
}

/** GPUs, which may have a bus of their memory's node, and switches count on together. */
function passedThrough({ numGpus, numNvswitches, hugepages }: AcpiMachine): string[] {
  const ownBus = hugepages ? device("pxb-pcie,id=pcie.node0,bus=pcie.0,addr=10,numa_node=0,bus_nr=5") : [];
  const bus = hugepages ? "pcie.node0" : "pcie.0";
  return [
    ...(numGpus > 0 ? ["-object", "iommufd,id=iommufd0", ...ownBus] : []),
    ...repeated(numGpus, (port) => passedThroughOne(port, bus)),
    ...repeated(numNvswitches, (index) => passedThroughOne(numGpus + index, "pcie.0")),
  ];
}

function passedThroughOne(port: number, bus: string): string[] {
  const rootPort = device(`pcie-root-port,id=pci.${port},bus=${bus},chassis=${port}`);
  return [...rootPort, ...device(`vfio-pci,host=00:00.0,bus=pci.${port},iommufd=iommufd0`)];
}

function device(text: string): string[] {
  return ["-device", text];
}

/** A comma in a path would begin another option. */
function escaped(path: string): string {
  return path.replaceAll(",", ",,");
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / MIB)}M`;
}

function repeated(count: number, of: (index: number) => string[]): string[] {
  return Array.from({ length: count }, (_, index) => of(index)).flat();
}
