/** The kernel as the firmware gets it: QEMU's loader writes addresses into the header, which are measured with it. */
import { KmsError } from "../../errors.ts";
import { authenticodeSha384, MAX_KERNEL_BYTES } from "./authenticode.ts";
import { SPLIT_MEMORY_BYTES } from "./td-hob.ts";

export interface LoaderInput {
  readonly memorySize: bigint;
  readonly initrdSize: number;
}

const MIN_KERNEL_BYTES = 0x1000;
const HEADER_MAGIC = 0x53726448; // "HdrS"
const LOADED_HIGH = 1;
const CAN_USE_HEAP = 0x80;
const LOADER_QEMU = 0xb0;
const OLD_COMMAND_LINE_MAGIC = 0xa33f;
const ABOVE_4G = 0x40;
const OLD_INITRD_MAX = 0x37ffffff;
const LOW_MEMORY_END = 0x80000000n;
/** Below the end of low memory, ACPI data gets this much. */
const ACPI_BYTES = 0x28000n;
const PAGE_MASK = 0xfffn;

/** Digest of the kernel as loaded. From 2 GiB on, and except just below 2.75 GiB, it does not depend on the memory. */
export function kernelDigest(kernel: Uint8Array, input: LoaderInput): Uint8Array {
  return authenticodeSha384(kernel, patchedHead(kernel, input));
}

/** The first page with the loader's changes (Linux/x86 boot protocol). */
export function patchedHead(kernel: Uint8Array, { memorySize, initrdSize }: LoaderInput): Uint8Array {
  if (kernel.length < MIN_KERNEL_BYTES || kernel.length > MAX_KERNEL_BYTES) {
    throw refuse(`need ${MIN_KERNEL_BYTES} to ${MAX_KERNEL_BYTES} bytes, have ${kernel.length}`);
  }
  const patched = kernel.slice(0, MIN_KERNEL_BYTES);
  const header = new DataView(patched.buffer);
  // without it the loader takes the kernel for one of before 1995, which has no initrd
  if (header.getUint32(0x202, true) !== HEADER_MAGIC) throw refuse("no Linux boot header");
  const protocol = header.getUint16(0x206, true);
  if (protocol < 0x200) throw refuse(`boot protocol: need at least 2.00 for an initrd, have 0x${protocol.toString(16)}`);
  const limit = initrdLimit(header, protocol, memorySize);
  writeAddresses(header, protocol);
  if (BigInt(initrdSize) >= limit) throw refuse(`an initrd of ${initrdSize} bytes does not fit below 0x${limit.toString(16)}`);
  header.setUint32(0x218, Number((limit - BigInt(initrdSize)) & ~PAGE_MASK), true);
  header.setUint32(0x21c, initrdSize, true);
  return patched;
}

function writeAddresses(header: DataView, protocol: number): void {
  const high = (header.getUint8(0x211) & LOADED_HIGH) !== 0;
  const real = high ? 0x10000 : 0x90000;
  const commandLine = high ? 0x20000 : 0x9a000;
  header.setUint8(0x210, LOADER_QEMU);
  if (protocol >= 0x201) {
    header.setUint8(0x211, header.getUint8(0x211) | CAN_USE_HEAP);
    header.setUint32(0x224, commandLine - real - 0x200, true);
  }
  if (protocol >= 0x202) {
    header.setUint32(0x228, commandLine, true);
  } else {
    header.setUint16(0x20, OLD_COMMAND_LINE_MAGIC, true);
    header.setUint16(0x22, commandLine - real, true);
  }
}

/** The address that the end of the initrd stays under: what the kernel can reach, and what memory there is below ACPI data. */
function initrdLimit(header: DataView, protocol: number, memorySize: bigint): bigint {
  const lowEnd = memorySize < SPLIT_MEMORY_BYTES ? SPLIT_MEMORY_BYTES : LOW_MEMORY_END;
  const below = memorySize < lowEnd ? memorySize : lowEnd;
  if (below <= ACPI_BYTES)
    throw new KmsError("malformed.vm-config", `memory_size: need more than ${ACPI_BYTES}, have ${memorySize}`);
  const reachable = BigInt(initrdMax(header, protocol));
  return reachable >= below - ACPI_BYTES ? below - ACPI_BYTES - 1n : reachable;
}

function initrdMax(header: DataView, protocol: number): number {
  if (protocol >= 0x20c) return (header.getUint16(0x236, true) & ABOVE_4G) !== 0 ? 0xffffffff : OLD_INITRD_MAX;
  if (protocol >= 0x203) return header.getUint32(0x22c, true) || OLD_INITRD_MAX;
  return OLD_INITRD_MAX;
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.kernel", `kernel: ${message}`);
}
