/** ACPI digests from a file: what some machine was found to have, for machines that are the same in everything that decides about them. */
import { z } from "zod";
import { fromHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { parseJsonTree, plainValue } from "../json-tree.ts";
import type { AcpiMachine, AcpiSource } from "./acpi.ts";
import { type AcpiDigests, REGISTER_BYTES } from "./registers.ts";

/** An entry has a kilobyte at most. */
export const MAX_ACPI_DATA_CHARACTERS = 16 * 1024 * 1024;
const MAX_ENTRIES = 16384;

const u32 = z.int().min(0).max(0xffffffff);
const digest = z.string().regex(/^[0-9a-f]{96}$/, "need 96 digits of lower-case hex");

/** Every member is needed, with its effective value: a default that changed would make one entry mean two machines. */
const machineSchema = z.strictObject({
  qemu_version: z.string().regex(/^\d{1,5}\.\d{1,5}\.\d{1,5}$/, "need three decimal numbers joined by dots"),
  cpu_count: u32.min(1),
  memory_size: z.int().min(0),
  pic: z.boolean(),
  hugepages: z.boolean(),
  num_gpus: u32,
  num_nvswitches: u32,
  num_nics: u32,
  num_verity_volumes: u32,
  hotplug_off: z.boolean(),
  pci_hole64_size: z.int().min(0),
  host_share_mode: z.enum(["9p", "disk"]),
});
const schema = z.strictObject({
  version: z.literal(1),
  entries: z.array(z.strictObject({ machine: machineSchema, loader: digest, rsdp: digest, tables: digest })).max(MAX_ENTRIES),
});

export type MachineRecord = z.infer<typeof machineSchema>;

export interface KnownMachine {
  readonly machine: MachineRecord;
  readonly digests: AcpiDigests;
}

/** The digests for machines of the list, and an error for any other. */
export function createAcpiData(json: string): AcpiSource {
  const byMachine = new Map(acpiEntriesOf(json).map(({ machine, digests }) => [keyOf(machine), digests]));
  return {
    digestsOf: async (machine) => {
      const found = byMachine.get(keyOf(recordOf(machine)));
      if (found !== undefined) return found;
      throw new KmsError("unavailable.acpi-tables", `ACPI data: no entry for ${JSON.stringify(recordOf(machine))}`);
    },
  };
}

export function acpiEntriesOf(json: string): KnownMachine[] {
  const seen = new Set<string>();
  return parse(json).map(({ machine, ...digests }, index) => {
    const key = keyOf(machine);
    if (seen.has(key)) throw refuse(`entries[${index}]: its machine has an entry already`);
    seen.add(key);
    const bytesOf = (name: keyof AcpiDigests) => fromHex(digests[name], name, REGISTER_BYTES);
    return { machine, digests: { loader: bytesOf("loader"), rsdp: bytesOf("rsdp"), tables: bytesOf("tables") } };
  });
}

/** The machine as the file writes it. */
export function recordOf(machine: AcpiMachine): MachineRecord {
  return {
    qemu_version: machine.qemuVersion,
    cpu_count: machine.cpuCount,
    memory_size: machine.memorySize,
    pic: machine.pic,
    hugepages: machine.hugepages,
    num_gpus: machine.numGpus,
    num_nvswitches: machine.numNvswitches,
    num_nics: machine.numNics,
    num_verity_volumes: machine.numVerityVolumes,
    hotplug_off: machine.hotplugOff,
    pci_hole64_size: machine.pciHole64Size,
    host_share_mode: machine.hostShareMode,
  };
}

function keyOf(machine: MachineRecord): string {
  return JSON.stringify(Object.entries(machine).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function parse(json: string): z.infer<typeof schema>["entries"] {
  if (json.length > MAX_ACPI_DATA_CHARACTERS) {
    throw refuse(`need at most ${MAX_ACPI_DATA_CHARACTERS} characters, have ${json.length}`);
  }
  const parsed = schema.safeParse(plainValue(parseJsonTree(json, "ACPI data", "malformed.file")));
  if (parsed.success) return parsed.data.entries;
  const [issue] = parsed.error.issues;
  throw refuse(`${issue?.path.join(".") || "file"}: ${issue?.message.toLowerCase()}`);
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.file", `ACPI data: ${message}`);
}
