/** The lite OS image check: the launch registers recomputed from a small document instead of the image itself. */
import { encode } from "cborg";
import { concat, toHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { isAcpiEvent, type TdxEvent } from "../evidence.ts";
import type { TdReport10, TdReport15 } from "../tdx/report.ts";
import { decodeDocument, memberBytes, memberMap, provenDocument } from "./measurement-document.ts";
import { isTwoPass } from "./qemu-version.ts";
import { type AcpiDigests, type LaunchRegisters, REGISTER_BYTES, requireRegisters, rtmr0, rtmr1, rtmr2 } from "./registers.ts";
import { buildTdHob, encodeHobWitness, type HobWitness, parseHobWitness, SPLIT_MEMORY_BYTES } from "./td-hob.ts";
import type { VmConfig } from "./vm-config.ts";

export const LITE_DOCUMENT_NAME = "measurement.tdx.cbor";
const LITE_VERSION = 3;
const OVMF_VARIANT = "pre202505";
/** Between 2 GiB and the split the kernel's own hash depends on the memory size, which the document does not cover. */
export const SMALL_MEMORY_BYTES = 2147483648n;

export interface LiteDocument {
  readonly cmdlineSha384: Uint8Array;
  readonly kernelAuthenticode: Uint8Array;
  readonly initrdSha384: Uint8Array;
  readonly ovmf: "pre202505";
  readonly mrtd: { readonly singlePass: Uint8Array; readonly twoPass: Uint8Array };
  readonly tdHob: HobWitness;
}

/** The content of `measurement.tdx.cbor`; unknown members are ignored. */
export function parseLiteDocument(bytes: Uint8Array): LiteDocument {
  const top = decodeDocument(bytes);
  if (top.get("version") !== LITE_VERSION) throw refuse(`measurement version: need ${LITE_VERSION}`);
  const image = memberMap(top, "image");
  const tdvf = memberMap(top, "tdvf");
  const mrtd = memberMap(tdvf, "mrtd");
  if (tdvf.get("ovmf") !== OVMF_VARIANT) throw refuse(`measurement tdvf.ovmf: need ${OVMF_VARIANT}`);
  return {
    cmdlineSha384: memberBytes(image, "cmdline_sha384", REGISTER_BYTES),
    kernelAuthenticode: memberBytes(image, "kernel_authenticode", REGISTER_BYTES),
    initrdSha384: memberBytes(image, "initrd_sha384", REGISTER_BYTES),
    ovmf: OVMF_VARIANT,
    mrtd: {
      singlePass: memberBytes(mrtd, "single_pass", REGISTER_BYTES),
      twoPass: memberBytes(mrtd, "two_pass", REGISTER_BYTES),
    },
    tdHob: parseHobWitness(memberBytes(tdvf, "td_hob")),
  };
}

/** Members in the order of the guest's builder: the checksum file has the hash of these bytes. */
export function encodeLiteDocument(document: LiteDocument): Uint8Array {
  const value = {
    version: LITE_VERSION,
    image: {
      cmdline_sha384: document.cmdlineSha384,
      kernel_authenticode: document.kernelAuthenticode,
      initrd_sha384: document.initrdSha384,
    },
    tdvf: {
      ovmf: document.ovmf,
      mrtd: { single_pass: document.mrtd.singlePass, two_pass: document.mrtd.twoPass },
      td_hob: encodeHobWitness(document.tdHob),
    },
  };
  return encode(value, { mapSorter: () => 0 });
}

export function expectedLiteRegisters(
  document: LiteDocument,
  input: { readonly memorySize: number | bigint; readonly twoPass: boolean; readonly acpi: AcpiDigests },
): LaunchRegisters {
  const memorySize = BigInt(input.memorySize);
  if (memorySize !== SMALL_MEMORY_BYTES && memorySize < SPLIT_MEMORY_BYTES) {
    throw refuse(`memory_size: need ${SMALL_MEMORY_BYTES} or at least ${SPLIT_MEMORY_BYTES}, have ${memorySize}`);
  }
  return {
    mrtd: input.twoPass ? document.mrtd.twoPass : document.mrtd.singlePass,
    rtmr0: rtmr0(buildTdHob(document.tdHob, memorySize), input.acpi),
    rtmr1: rtmr1(document.kernelAuthenticode),
    rtmr2: rtmr2(document.cmdlineSha384, document.initrdSha384),
  };
}

/** What a configuration led to last: the VMs of one kind share it, and the digests of their ACPI tables too. */
const last = new WeakMap<VmConfig, { readonly acpi: string; readonly registers: LaunchRegisters }>();

/** The whole check: the document is the image's, and the quoted registers are what it leads to. */
export function checkLiteImage(report: TdReport10 | TdReport15, eventLog: readonly TdxEvent[], config: VmConfig): void {
  const found = last.get(config);
  const document = found === undefined ? documentOf(config) : undefined;
  const digests = attestedAcpiDigests(eventLog);
  const acpi = toHex(concat(digests.loader, digests.rsdp, digests.tables));
  const read = () => {
    const input = { memorySize: config.memorySize, twoPass: isTwoPass(config), acpi: digests };
    return expectedLiteRegisters(document ?? documentOf(config), input);
  };
  const registers = found?.acpi === acpi ? found.registers : read();
  requireRegisters(registers, report);
  last.set(config, { acpi, registers });
}

function documentOf({ tdxMeasurement, osImageHash }: VmConfig): LiteDocument {
  if (tdxMeasurement === undefined)
    throw new KmsError("unproven.os-image", "vm_config.tdx_measurement is required for lite attestation");
  return parseLiteDocument(provenDocument(tdxMeasurement, osImageHash, LITE_DOCUMENT_NAME));
}

/** The ACPI digests are whatever the quoted RTMR0 confirms: names tell them apart, their order does not matter. */
export function attestedAcpiDigests(eventLog: readonly TdxEvent[]): AcpiDigests {
  const events = eventLog.filter(isAcpiEvent);
  if (events.length !== 3) throw new KmsError("unproven.os-image", `event log: need 3 ACPI DATA events, have ${events.length}`);
  const digestOf = (name: string): Uint8Array => {
    const [match, ...others] = events.filter(({ event }) => event === name);
    if (match === undefined || others.length > 0) throw new KmsError("unproven.os-image", `event log: need one ${name} event`);
    if (match.digest.length !== REGISTER_BYTES) {
      throw new KmsError("unproven.os-image", `${name} digest: need ${REGISTER_BYTES} bytes, have ${match.digest.length}`);
    }
    return match.digest;
  };
  return { loader: digestOf("acpi-loader"), rsdp: digestOf("acpi-rsdp"), tables: digestOf("acpi-tables") };
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.vm-config", message);
}
