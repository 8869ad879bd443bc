/** The launch registers that an OS image leads to on a given machine, computed from its files. */
import { hash } from "node:crypto";
import { BoundedMap } from "../../bounded-map.ts";
import { type AcpiSource, acpiMachineOf } from "./acpi.ts";
import { authenticodeSha384 } from "./authenticode.ts";
import type { ImageFiles } from "./image-files.ts";
import { kernelDigest, type LoaderInput, patchedHead } from "./kernel.ts";
import { type LiteDocument, SMALL_MEMORY_BYTES } from "./lite.ts";
import { mrtdOf, type PageOrder } from "./mrtd.ts";
import { isTwoPass } from "./qemu-version.ts";
import { type AcpiDigests, type FileRegisters, type LaunchRegisters, rtmr0, rtmr1, rtmr2, sha384 } from "./registers.ts";
import { buildTdHob } from "./td-hob.ts";
import { hobWitnessOf, parseTdvf, type Tdvf } from "./tdvf.ts";
import type { VmConfig } from "./vm-config.ts";

/** The ACPI digests come first: asking for them ends a configuration that no source can serve before anything is hashed. */
export async function measureImage(files: ImageFiles, config: VmConfig, acpi: AcpiSource): Promise<LaunchRegisters> {
  const digests = await acpi.digestsOf(acpiMachineOf(config), files.paths);
  return measureWith(files, config, digests, hashesOf(files));
}

/** A configuration that has no registers at all ends here too. */
export function fileRegistersOf(files: ImageFiles, config: VmConfig): FileRegisters {
  acpiMachineOf(config);
  return fileRegisters(files, config, hashesOf(files));
}

export function measureWith(
  files: ImageFiles,
  config: VmConfig,
  acpi: AcpiDigests,
  hashes: FileHashes = new FileHashes(files),
): LaunchRegisters {
  const hob = buildTdHob(hobWitnessOf(hashes.tdvf), BigInt(config.memorySize));
  const { mrtd, rtmr1, rtmr2 } = fileRegisters(files, config, hashes);
  return { mrtd, rtmr0: rtmr0(hob, acpi), rtmr1, rtmr2 };
}

function fileRegisters(files: ImageFiles, config: VmConfig, hashes: FileHashes): FileRegisters {
  const loader = { memorySize: BigInt(config.memorySize), initrdSize: files.initrd.size };
  return {
    mrtd: hashes.mrtd(isTwoPass(config) ? "two-pass" : "single-pass"),
    rtmr1: rtmr1(hashes.kernel(loader)),
    rtmr2: rtmr2(commandLineDigest(files.cmdline), files.initrd.sha384),
  };
}

/** Of images whose files are in memory. */
const hashed = new WeakMap<ImageFiles, FileHashes>();

function hashesOf(files: ImageFiles): FileHashes {
  const hashes = hashed.get(files) ?? new FileHashes(files);
  hashed.set(files, hashes);
  return hashes;
}

/** All machines of 2.75 GiB and more have one kernel digest, smaller ones have others. */
const MAX_KERNELS = 16;

/** What only the files decide is hashed once: a guest may say it is another machine with each request, and hashing keeps all others waiting. */
class FileHashes {
  readonly tdvf: Tdvf;
  readonly #kernel: Uint8Array;
  readonly #mrtd = new Map<PageOrder, Uint8Array>();
  readonly #kernels = new BoundedMap<string, Uint8Array>(MAX_KERNELS);

  constructor({ firmware, kernel }: ImageFiles) {
    this.tdvf = parseTdvf(firmware);
    this.#kernel = kernel;
  }

  mrtd(order: PageOrder): Uint8Array {
    const digest = this.#mrtd.get(order) ?? mrtdOf(this.tdvf, order);
    this.#mrtd.set(order, digest);
    return digest;
  }

  /** By the head with the loader's changes: the rest is the file's. */
  kernel(input: LoaderInput): Uint8Array {
    const head = patchedHead(this.#kernel, input);
    const name = hash("sha256", head, "base64");
    const digest = this.#kernels.get(name) ?? authenticodeSha384(this.#kernel, head);
    this.#kernels.set(name, digest);
    return digest;
  }
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
