/** `image measure` and `image document`: the registers that an image leads to, and the document that a lite guest brings in its place. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { acpiMachineOf } from "../kms/attestation/image/acpi.ts";
import { recordOf } from "../kms/attestation/image/acpi-data.ts";
import { type LoadedImage, loadImage } from "../kms/attestation/image/cache-load.ts";
import { encodeLiteDocument, LITE_DOCUMENT_NAME, SMALL_MEMORY_BYTES } from "../kms/attestation/image/lite.ts";
import { liteDocumentOf, measureWith } from "../kms/attestation/image/measure.ts";
import { isTwoPass } from "../kms/attestation/image/qemu-version.ts";
import { type AcpiDigests, type LaunchRegisters, REGISTER_BYTES } from "../kms/attestation/image/registers.ts";
import { encodeHobWitness, SPLIT_MEMORY_BYTES } from "../kms/attestation/image/td-hob.ts";
import type { VmConfig } from "../kms/attestation/image/vm-config.ts";
import { equal, toHex } from "../kms/bytes.ts";
import { type AcpiFlags, acpiFor, type KnownAcpi, readVmConfig } from "./image-inputs.ts";
import type { CommandResult } from "./lib/cli.ts";
import { type Occupied, writeOutput } from "./lib/output-file.ts";

export interface MeasureFlags extends AcpiFlags {
  readonly vmConfig: string;
}

export async function measure(dir: string, flags: MeasureFlags): Promise<CommandResult> {
  const config = await readVmConfig(flags.vmConfig);
  acpiMachineOf(config);
  const image = await loadImage(dir);
  const acpi = await acpiFor(config, image.files.paths, flags);
  const registers = measureWith(image.files, config, acpi?.digests ?? unknownDigests);
  const rtmr0 = acpi === undefined ? null : toHex(registers.rtmr0);
  const values = { mrtd: toHex(registers.mrtd), rtmr0, rtmr1: toHex(registers.rtmr1), rtmr2: toHex(registers.rtmr2) };
  const lite = liteReport(image, config);
  const json = {
    osImageHash: toHex(image.osImageHash),
    ...values,
    acpi: acpi === undefined ? null : acpiReport(config, acpi),
    lite,
  };
  return { json, text: measureText(json, acpi), notes: notesOf(image, config, registers, acpi) };
}

const unknownDigests: AcpiDigests = {
  loader: new Uint8Array(REGISTER_BYTES),
  rsdp: new Uint8Array(REGISTER_BYTES),
  tables: new Uint8Array(REGISTER_BYTES),
};

/** An entry of a file of known digests, ready to be put into one. */
function acpiReport(config: VmConfig, { digests, from }: KnownAcpi) {
  const { loader, rsdp, tables } = digests;
  return {
    from,
    entry: { machine: recordOf(acpiMachineOf(config)), loader: toHex(loader), rsdp: toHex(rsdp), tables: toHex(tables) },
  };
}

function liteReport({ files }: LoadedImage, config: VmConfig) {
  const document = liteDocumentOf(files);
  const memory = BigInt(config.memorySize);
  return {
    coversMemory: memory === SMALL_MEMORY_BYTES || memory >= SPLIT_MEMORY_BYTES,
    documentSha256: sha256(encodeLiteDocument(document)),
    mrtd: { singlePass: toHex(document.mrtd.singlePass), twoPass: toHex(document.mrtd.twoPass) },
    tdHob: toHex(encodeHobWitness(document.tdHob)),
    kernelAuthenticode: toHex(document.kernelAuthenticode),
    cmdlineSha384: toHex(document.cmdlineSha384),
    initrdSha384: toHex(document.initrdSha384),
  };
}

type MeasureReport = Record<"osImageHash" | "mrtd" | "rtmr1" | "rtmr2", string> & {
  readonly rtmr0: string | null;
  readonly lite: ReturnType<typeof liteReport>;
};

function measureText({ osImageHash, mrtd, rtmr0, rtmr1, rtmr2, lite }: MeasureReport, acpi: KnownAcpi | undefined): string {
  const lines = {
    os_image_hash: osImageHash,
    mrtd,
    rtmr0: rtmr0 ?? "unknown: no source of the ACPI digests",
    rtmr1,
    rtmr2,
    ACPI: acpi === undefined ? "none" : `digests from ${acpi.from}`,
    [LITE_DOCUMENT_NAME]: `sha256 ${lite.documentSha256}`,
    "  single pass": lite.mrtd.singlePass,
    "  two pass": lite.mrtd.twoPass,
    "  td_hob": lite.tdHob,
    "  kernel": lite.kernelAuthenticode,
    "  cmdline": lite.cmdlineSha384,
    "  initrd": lite.initrdSha384,
  };
  return Object.entries(lines)
    .map(([name, value]) => `${name.padEnd(21)}${value}`)
    .join("\n");
}

function notesOf(
  { osImageHash }: LoadedImage,
  config: VmConfig,
  { mrtd }: LaunchRegisters,
  acpi: KnownAcpi | undefined,
): string[] {
  const claimed = config.osImageHash;
  const isOther = claimed.length > 0 && !equal(claimed, osImageHash);
  return [
    ...(isOther ? [`the VM configuration is for another image: os_image_hash ${toHex(claimed)}`] : []),
    ...(acpi === undefined
      ? ["rtmr0 needs ACPI digests: --acpi FILE, --acpi-program PATH, or --evidence FILE of a guest on such a machine"]
      : []),
    `mrtd ${toHex(mrtd).slice(0, 8)}… is that of ${isTwoPass(config) ? "two passes" : "a single pass"}, by qemu_version and qemu_single_pass_add_pages`,
  ];
}

export interface DocumentFlags {
  readonly out?: string;
  readonly force?: true;
}

const occupied: Occupied = {
  code: "malformed.usage",
  problem: "is there already",
  hint: "pass --force to write over it, or --out FILE",
};

/** Beside the image, where `sha256sum.txt` has to list it. */
export async function writeDocument(dir: string, flags: DocumentFlags): Promise<CommandResult> {
  const { files } = await loadImage(dir);
  const bytes = encodeLiteDocument(liteDocumentOf(files));
  const path = flags.out ?? join(dir, LITE_DOCUMENT_NAME);
  await writeOutput(path, bytes, flags.force === true, occupied);
  const line = `${sha256(bytes)}  ${LITE_DOCUMENT_NAME}`;
  return {
    json: { path, bytes: bytes.length, sha256: sha256(bytes), line },
    text: `${path}: ${bytes.length} bytes\n${line}`,
    notes: ["sha256sum.txt has to have this line; its own sha256 is the os_image_hash to allow"],
  };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
