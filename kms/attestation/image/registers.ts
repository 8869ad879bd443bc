/** What the firmware and the loader measure beside the image itself: constants of TDVF (variant pre202505) and register arithmetic. */
import { hash } from "node:crypto";
import { concat, fromHex, utf8 } from "../../bytes.ts";
import { extend } from "../events.ts";

export const REGISTER_BYTES = 48;

/** Digests of the three blobs that QEMU hands to the firmware. */
export interface AcpiDigests {
  readonly loader: Uint8Array;
  readonly rsdp: Uint8Array;
  readonly tables: Uint8Array;
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

/** RTMR0: firmware configuration, in the order the firmware measures it. */
export function rtmr0(tdHob: Uint8Array, acpi: AcpiDigests): Uint8Array {
  return registerOf([
    sha384(tdHob),
    CONFIGURATION_VOLUME,
    emptyVariable(GLOBAL_VARIABLE_GUID, "SecureBoot"),
    emptyVariable(GLOBAL_VARIABLE_GUID, "PK"),
    emptyVariable(GLOBAL_VARIABLE_GUID, "KEK"),
    emptyVariable(IMAGE_SECURITY_GUID, "db"),
    emptyVariable(IMAGE_SECURITY_GUID, "dbx"),
    SEPARATOR,
    acpi.loader,
    acpi.rsdp,
    acpi.tables,
    BOOT_ORDER,
    BOOT_0000,
  ]);
}

/** RTMR1: the kernel and the actions around its start. */
export function rtmr1(kernelAuthenticode: Uint8Array): Uint8Array {
  return registerOf([
    kernelAuthenticode,
    sha384(utf8("Calling EFI Application from Boot Option")),
    SEPARATOR,
    sha384(utf8("Exit Boot Services Invocation")),
    sha384(utf8("Exit Boot Services Returned with Success")),
  ]);
}

/** RTMR2: command line and initrd. */
export function rtmr2(cmdlineSha384: Uint8Array, initrdSha384: Uint8Array): Uint8Array {
  return registerOf([cmdlineSha384, initrdSha384]);
}
