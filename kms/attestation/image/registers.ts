/** What the firmware and the loader measure beside the image itself: constants of TDVF (variant pre202505) and register arithmetic. */
import { hash } from "node:crypto";
import { concat, equal, fromHex, toHex, utf8 } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { extend } from "../events.ts";

export const REGISTER_BYTES = 48;

/** Digests of the three blobs that QEMU hands to the firmware. */
export interface AcpiDigests {
  readonly loader: Uint8Array;
  readonly rsdp: Uint8Array;
  readonly tables: Uint8Array;
}

/** What a launch leaves in the registers before the guest itself writes. */
export interface LaunchRegisters {
  readonly mrtd: Uint8Array;
  readonly rtmr0: Uint8Array;
  readonly rtmr1: Uint8Array;
  readonly rtmr2: Uint8Array;
}

/** What the files alone decide, with the order of pages and the size of the memory: no ACPI digest is needed. */
export type FileRegisters = Omit<LaunchRegisters, "rtmr0">;

export function requireFileRegisters(
  expected: FileRegisters,
  quoted: Pick<LaunchRegisters, "rtmr1" | "rtmr2"> & { readonly mrTd: Uint8Array },
): void {
  requireRegister("MRTD", expected.mrtd, quoted.mrTd);
  requireRegister("RTMR1", expected.rtmr1, quoted.rtmr1);
  requireRegister("RTMR2", expected.rtmr2, quoted.rtmr2);
}

/** The quoted registers, all four. The first that differs is named: the order is that of the launch. */
export function requireRegisters(
  expected: LaunchRegisters,
  quoted: Omit<LaunchRegisters, "mrtd"> & { readonly mrTd: Uint8Array },
): void {
  requireRegister("MRTD", expected.mrtd, quoted.mrTd);
  requireRegister("RTMR0", expected.rtmr0, quoted.rtmr0);
  requireRegister("RTMR1", expected.rtmr1, quoted.rtmr1);
  requireRegister("RTMR2", expected.rtmr2, quoted.rtmr2);
}

function requireRegister(name: string, expected: Uint8Array, actual: Uint8Array): void {
  if (equal(expected, actual)) return;
  throw new KmsError("unproven.os-image", `${name} mismatch: expected=${toHex(expected)}, actual=${toHex(actual)}`);
}

export function sha384(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash("sha384", bytes, "buffer"));
}

/** A register after the digests, from zero. */
export function registerOf(digests: readonly Uint8Array[]): Uint8Array {
  const zero: Uint8Array = new Uint8Array(REGISTER_BYTES);
  return digests.reduce((register, digest) => extend(register, digest, "sha384"), zero);
}

const GLOBAL_VARIABLE_GUID = fromHex("61dfe48bca93d211aa0d00e098032b8c", "guid");
const IMAGE_SECURITY_GUID = fromHex("cbb219d73a3d9645a3bcdad00e67656f", "guid");
const CONFIGURATION_VOLUME = fromHex(
  "344bc51c980ba621aaa00da3ed7436f7d6e549197dfe699515dfa2c6583d95e6412af21c097d473155875ffd561d6790",
  "configuration volume",
);
const BOOT_0000 = fromHex(
  "23ada07f5261f12f34a0bd8e46760962d6b4d576a416f1fea1c64bc656b1d28eacf7047ae6e967c58fd2a98bfa74c298",
  "Boot0000",
);
const SEPARATOR = sha384(new Uint8Array(4));
const BOOT_ORDER = sha384(new Uint8Array(2));

/** UEFI_VARIABLE_DATA of a variable that is not set. */
function emptyVariable(guid: Uint8Array, name: string): Uint8Array {
  const lengths = new DataView(new ArrayBuffer(16));
  lengths.setBigUint64(0, BigInt(name.length), true);
  return sha384(concat(guid, new Uint8Array(lengths.buffer), new Uint8Array(Buffer.from(name, "utf16le"))));
}

/** A digest, and what it is of. */
export interface NamedDigest {
  readonly name: string;
  readonly digest: Uint8Array;
}

/** Firmware configuration, in the order the firmware measures it. */
export function rtmr0Events(tdHob: Uint8Array, acpi: AcpiDigests): NamedDigest[] {
  return [
    { name: "TD HOB", digest: sha384(tdHob) },
    { name: "configuration volume", digest: CONFIGURATION_VOLUME },
    { name: "variable SecureBoot", digest: emptyVariable(GLOBAL_VARIABLE_GUID, "SecureBoot") },
    { name: "variable PK", digest: emptyVariable(GLOBAL_VARIABLE_GUID, "PK") },
    { name: "variable KEK", digest: emptyVariable(GLOBAL_VARIABLE_GUID, "KEK") },
    { name: "variable db", digest: emptyVariable(IMAGE_SECURITY_GUID, "db") },
    { name: "variable dbx", digest: emptyVariable(IMAGE_SECURITY_GUID, "dbx") },
    { name: "separator", digest: SEPARATOR },
    { name: "ACPI loader", digest: acpi.loader },
    { name: "ACPI RSDP", digest: acpi.rsdp },
    { name: "ACPI tables", digest: acpi.tables },
    { name: "variable BootOrder", digest: BOOT_ORDER },
    { name: "variable Boot0000", digest: BOOT_0000 },
  ];
}

export function rtmr0(tdHob: Uint8Array, acpi: AcpiDigests): Uint8Array {
  return registerFrom(rtmr0Events(tdHob, acpi));
}

function registerFrom(events: readonly NamedDigest[]): Uint8Array {
  return registerOf(events.map(({ digest }) => digest));
}

/** The kernel and the actions around its start. */
export function rtmr1Events(kernelAuthenticode: Uint8Array): NamedDigest[] {
  return [
    { name: "kernel", digest: kernelAuthenticode },
    { name: "calling the boot option", digest: sha384(utf8("Calling EFI Application from Boot Option")) },
    { name: "separator", digest: SEPARATOR },
    { name: "exit of boot services invoked", digest: sha384(utf8("Exit Boot Services Invocation")) },
    { name: "exit of boot services returned", digest: sha384(utf8("Exit Boot Services Returned with Success")) },
  ];
}

export function rtmr1(kernelAuthenticode: Uint8Array): Uint8Array {
  return registerFrom(rtmr1Events(kernelAuthenticode));
}

export function rtmr2Events(cmdlineSha384: Uint8Array, initrdSha384: Uint8Array): NamedDigest[] {
  return [
    { name: "command line", digest: cmdlineSha384 },
    { name: "initrd", digest: initrdSha384 },
  ];
}

export function rtmr2(cmdlineSha384: Uint8Array, initrdSha384: Uint8Array): Uint8Array {
  return registerFrom(rtmr2Events(cmdlineSha384, initrdSha384));
}
