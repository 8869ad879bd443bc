/** The launch registers that an OS image leads to on a given machine, computed from its files. */
import { type AcpiSource, acpiMachineOf } from "./acpi.ts";
import type { ImageFiles } from "./image-files.ts";
import { kernelDigest } from "./kernel.ts";
import { type LiteDocument, SMALL_MEMORY_BYTES } from "./lite.ts";
import { mrtdOf, type PageOrder } from "./mrtd.ts";
import { isTwoPass } from "./qemu-version.ts";
import { type AcpiDigests, type LaunchRegisters, rtmr0, rtmr1, rtmr2, sha384 } from "./registers.ts";
import { buildTdHob } from "./td-hob.ts";
import { hobWitnessOf, parseTdvf } from "./tdvf.ts";
import type { VmConfig } from "./vm-config.ts";

/** The ACPI digests come first: asking for them ends a configuration that no source can serve before anything is hashed. */
export async function measureImage(files: ImageFiles, config: VmConfig, acpi: AcpiSource): Promise<LaunchRegisters> {
  return measureWith(files, config, await acpi.digestsOf(acpiMachineOf(config), files.paths));
}

export function measureWith(files: ImageFiles, config: VmConfig, acpi: AcpiDigests): LaunchRegisters {
  const tdvf = parseTdvf(files.firmware);
  const order: PageOrder = isTwoPass(config) ? "two-pass" : "single-pass";
  const memorySize = BigInt(config.memorySize);
  return {
    mrtd: mrtdOf(tdvf, order),
    rtmr0: rtmr0(buildTdHob(hobWitnessOf(tdvf), memorySize), acpi),
    rtmr1: rtmr1(kernelDigest(files.kernel, { memorySize, initrdSize: files.initrd.size })),
    rtmr2: rtmr2(commandLineDigest(files.cmdline), files.initrd.sha384),
  };
}

/** What a lite guest brings in place of the image: all that its registers need beside the machine. */
export function liteDocumentOf(files: ImageFiles): LiteDocument {
  const tdvf = parseTdvf(files.firmware);
  return {
    cmdlineSha384: commandLineDigest(files.cmdline),
    kernelAuthenticode: kernelDigest(files.kernel, { memorySize: SMALL_MEMORY_BYTES, initrdSize: files.initrd.size }),
    initrdSha384: files.initrd.sha384,
    ovmf: files.ovmfVariant ?? "pre202505",
    mrtd: { singlePass: mrtdOf(tdvf, "single-pass"), twoPass: mrtdOf(tdvf, "two-pass") },
    tdHob: hobWitnessOf(tdvf),
  };
}

/** As the kernel's own loader sees it: UTF-16 with its end, and QEMU's word for where the initrd is. */
export function commandLineDigest(cmdline: string): Uint8Array {
  return sha384(new Uint8Array(Buffer.from(`${cmdline} initrd=initrd\0`, "utf16le")));
}
