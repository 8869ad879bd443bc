/** The VM configuration that accompanies evidence: untrusted claims, made trustworthy only by the OS image check. */
import { z } from "zod";
import { BoundedMap } from "../../bounded-map.ts";
import { fromHex, needLength } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { parseJsonTree, plainValue } from "../json-tree.ts";

/** A real one has a few hundred bytes, with measurement documents a few thousand. */
export const MAX_VM_CONFIG_CHARACTERS = 1024 * 1024;
export const OS_IMAGE_HASH_BYTES = 32;

/** The image's `sha256sum.txt` and one measurement document it lists. */
export interface MeasurementMaterial {
  readonly checksumFile: Uint8Array;
  readonly measurement: Uint8Array;
}

export interface VmConfig {
  /** 32 bytes, or none. */
  readonly osImageHash: Uint8Array;
  readonly cpuCount: number;
  readonly memorySize: number;
  readonly qemuSinglePassAddPages?: boolean;
  readonly pic?: boolean;
  readonly qemuVersion?: string;
  readonly pciHole64Size: number;
  readonly hugepages: boolean;
  readonly numGpus: number;
  readonly numNvswitches: number;
  readonly numNics: number;
  readonly numVerityVolumes: number;
  readonly swtpm: boolean;
  readonly hotplugOff: boolean;
  readonly image?: string;
  readonly hostShareMode: string;
  readonly ovmfVariant?: "pre202505";
  readonly tdxAttestationVariant: "legacy" | "lite";
  readonly tdxMeasurement?: MeasurementMaterial;
  readonly gcpMeasurement?: MeasurementMaterial;
  readonly awsMeasurement?: MeasurementMaterial;
}

const u32 = z.int().min(0).max(0xffffffff);
/** Numbers past 2^53 would come out of JSON changed, so they are refused. */
const u64 = z.int().min(0);
const hex = z.string().regex(/^([0-9a-fA-F]{2})*$/);
/** The one spelling of base64: standard alphabet, padded, no stray bits. */
const base64 = z
  .string()
  .refine((text) => Buffer.from(text, "base64").toString("base64") === text)
  .transform((text) => new Uint8Array(Buffer.from(text, "base64")));
const material = z
  .object({ checksum_file: base64, measurement: base64 })
  .transform((value): MeasurementMaterial => ({ checksumFile: value.checksum_file, measurement: value.measurement }));

/** Members nobody here knows are ignored: writers add new ones ahead of us. */
const schema = z.object({
  os_image_hash: hex.default(""),
  cpu_count: u32.default(0),
  memory_size: u64.default(0),
  qemu_single_pass_add_pages: z.boolean().nullish(),
  pic: z.boolean().nullish(),
  qemu_version: z.string().nullish(),
  pci_hole64_size: u64.default(0),
  hugepages: z.boolean().default(false),
  num_gpus: u32.default(0),
  num_nvswitches: u32.default(0),
  num_nics: u32.default(1),
  num_verity_volumes: u32.default(0),
  swtpm: z.boolean().default(false),
  hotplug_off: z.boolean().default(false),
  image: z.string().nullish(),
  host_share_mode: z.string().default(""),
  ovmf_variant: z.literal("pre202505").nullish(),
  tdx_attestation_variant: z.enum(["legacy", "lite"]).default("legacy"),
  tdx_measurement: material.nullish(),
  gcp_measurement: material.nullish(),
  aws_measurement: material.nullish(),
});

const systemConfigSchema = z.object({ vm_config: z.string() });

/** The text of the request counts if there is one, else the one inside the evidence; neither means all defaults. */
export function chooseVmConfig(requested: string, embedded: string): string {
  return requested || embedded || "{}";
}

/** The VM configuration inside a stack's own, which is either the text itself or a system configuration that holds it as a string. */
export function embeddedVmConfig(config: string): string {
  const text = chooseVmConfig("", config);
  const outer = systemConfigSchema.safeParse(readJson(text));
  return outer.success ? chooseVmConfig("", outer.data.vm_config) : text;
}

/** The VMs of one kind all send one text, and what a text says cannot change. */
const known = new BoundedMap<string, VmConfig>(64);
/** Real ones have one to four thousand; a text that somebody blew up is read each time. */
const MAX_KNOWN_CHARACTERS = 16 * 1024;

export function parseVmConfig(text: string): VmConfig {
  const found = known.get(text);
  if (found !== undefined) return found;
  const config = readVmConfig(text);
  if (text.length > MAX_KNOWN_CHARACTERS) return config;
  known.set(text, config);
  return config;
}

function readVmConfig(text: string): VmConfig {
  const value = readConfig(text);
  const osImageHash = fromHex(value.os_image_hash, "os_image_hash");
  if (osImageHash.length > 0) needLength(osImageHash, OS_IMAGE_HASH_BYTES, "os_image_hash");
  return {
    osImageHash,
    cpuCount: value.cpu_count,
    memorySize: value.memory_size,
    ...present("qemuSinglePassAddPages", value.qemu_single_pass_add_pages),
    ...present("pic", value.pic),
    ...present("qemuVersion", value.qemu_version),
    pciHole64Size: value.pci_hole64_size,
    hugepages: value.hugepages,
    numGpus: value.num_gpus,
    numNvswitches: value.num_nvswitches,
    numNics: value.num_nics,
    numVerityVolumes: value.num_verity_volumes,
    swtpm: value.swtpm,
    hotplugOff: value.hotplug_off,
    ...present("image", value.image),
    hostShareMode: value.host_share_mode,
    ...present("ovmfVariant", value.ovmf_variant),
    tdxAttestationVariant: value.tdx_attestation_variant,
    ...present("tdxMeasurement", value.tdx_measurement),
    ...present("gcpMeasurement", value.gcp_measurement),
    ...present("awsMeasurement", value.aws_measurement),
  };
}

function readConfig(text: string): z.infer<typeof schema> {
  try {
    return schema.parse(readJson(text));
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw new KmsError("malformed.vm-config", "Failed to parse vm config", { cause });
  }
}

function readJson(text: string): unknown {
  try {
    if (text.length > MAX_VM_CONFIG_CHARACTERS) throw new RangeError(`over ${MAX_VM_CONFIG_CHARACTERS} characters`);
    return plainValue(parseJsonTree(text, "vm config", "malformed.vm-config"));
  } catch (cause) {
    throw new KmsError("malformed.vm-config", "Failed to parse vm config", { cause });
  }
}

function present<K extends string, V>(key: K, value: V | null | undefined): Partial<Record<K, V>> {
  return value === null || value === undefined ? {} : ({ [key]: value } as Record<K, V>);
}
