/** `image diagnose`: the registers of a guest beside those of an image, and which input explains what differs. */
import { acpiMachineOf } from "../kms/attestation/image/acpi.ts";
import { acpiEntriesOf, MAX_ACPI_DATA_CHARACTERS, recordOf } from "../kms/attestation/image/acpi-data.ts";
import { loadImage } from "../kms/attestation/image/cache-load.ts";
import type { ImageFiles } from "../kms/attestation/image/image-files.ts";
import { encodeLiteDocument, LITE_DOCUMENT_NAME } from "../kms/attestation/image/lite.ts";
import { liteDocumentOf, measureWith } from "../kms/attestation/image/measure.ts";
import { type AcpiDigests, type LaunchRegisters, REGISTER_BYTES } from "../kms/attestation/image/registers.ts";
import type { VmConfig } from "../kms/attestation/image/vm-config.ts";
import { equal, toHex } from "../kms/bytes.ts";
import { KmsError } from "../kms/errors.ts";
import { type Difference, explain, type Question } from "./image-explain.ts";
import { acpiFor, type Guest, loggedAcpi, readGuest, readVmConfig } from "./image-inputs.ts";
import type { CommandResult } from "./lib/cli.ts";
import { hinted } from "./lib/cli.ts";
import { readInputText } from "./lib/input-file.ts";

export interface DiagnoseFlags {
  readonly vmConfig?: string;
  readonly evidence?: string;
  readonly registers?: string;
  readonly acpi?: string;
  readonly acpiProgram?: string;
  readonly cmdline?: readonly string[];
}

const names = ["mrtd", "rtmr0", "rtmr1", "rtmr2"] as const;

interface RegisterReport {
  readonly expected: string | null;
  readonly actual: string;
  /** Null: there are no ACPI digests to judge it by. */
  readonly matches: boolean | null;
}

export async function diagnose(dir: string, flags: DiagnoseFlags): Promise<CommandResult> {
  const guest = await readGuest(flags);
  const config = await readVmConfig(flags.vmConfig, guest);
  const { files, osImageHash } = await loadImage(dir);
  const acpi = await acpiOf(config, files, flags, guest);
  const expected = measureWith(files, config, acpi?.digests ?? zeroDigests);
  const registers = Object.fromEntries(names.map((name) => [name, reportOf(name, expected, guest, acpi !== undefined)]));
  const question = {
    files,
    config,
    acpi: acpi?.digests,
    otherAcpi: await otherMachines(config, flags),
    cmdlines: flags.cmdline ?? [],
    guest,
  };
  const differences = explain(question satisfies Question);
  const json = { osImageHash: toHex(osImageHash), acpi: acpi?.from ?? null, registers, differences };
  const result = { json, text: textOf(registers, differences), notes: notesOf(config, osImageHash, files, acpi?.from) };
  const wrong = names.filter((name) => registers[name]?.matches === false);
  return wrong.length === 0 ? result : { ...result, refusal: refusalOf(wrong, differences) };
}

const zeroDigests: AcpiDigests = {
  loader: new Uint8Array(REGISTER_BYTES),
  rsdp: new Uint8Array(REGISTER_BYTES),
  tables: new Uint8Array(REGISTER_BYTES),
};

/** A source that was chosen; else what the guest logged, which explains all but the ACPI tables; else the program on the PATH. */
async function acpiOf(config: VmConfig, files: ImageFiles, flags: DiagnoseFlags, guest: Guest) {
  const { acpi, acpiProgram } = flags;
  const chosen = { ...(acpi === undefined ? {} : { acpi }), ...(acpiProgram === undefined ? {} : { acpiProgram }) };
  const hasLog = guest.eventLog.length > 0;
  if (acpi === undefined && acpiProgram === undefined && hasLog) {
    return { digests: loggedAcpi(guest.eventLog), from: "the guest's own event log" };
  }
  try {
    return await acpiFor(config, files.paths, chosen);
  } catch (thrown) {
    // a machine that the file does not know is an answer, too: its entries are tried as other machines
    if (acpi !== undefined && hasLog && thrown instanceof KmsError && thrown.code === "unavailable.acpi-tables") {
      return { digests: loggedAcpi(guest.eventLog), from: "the guest's own event log" };
    }
    throw thrown;
  }
}

/** Entries of the file for machines that differ, by what they differ in. */
async function otherMachines(config: VmConfig, { acpi }: DiagnoseFlags): Promise<Question["otherAcpi"]> {
  if (acpi === undefined) return [];
  const wanted = Object.entries(recordOf(acpiMachineOf(config)));
  return acpiEntriesOf(await readInputText(acpi, MAX_ACPI_DATA_CHARACTERS)).map(({ machine, digests }) => {
    const has = new Map<string, unknown>(Object.entries(machine));
    const other = wanted
      .filter(([name, value]) => has.get(name) !== value)
      .map(([name, value]) => `${name} ${has.get(name)} in place of ${value}`);
    return { digests, words: `the machine has ${other.join(", ")}` };
  });
}

function reportOf(name: (typeof names)[number], expected: LaunchRegisters, guest: Guest, hasAcpi: boolean): RegisterReport {
  const actual = guest.registers[name];
  if (name === "rtmr0" && !hasAcpi) return { expected: null, actual: toHex(actual), matches: null };
  return { expected: toHex(expected[name]), actual: toHex(actual), matches: equal(expected[name], actual) };
}

function textOf(registers: Readonly<Record<string, RegisterReport>>, differences: readonly Difference[]): string {
  const lines = Object.entries(registers).flatMap(([name, { expected, actual, matches }]) => [
    `${name.padEnd(8)}${matches === null ? "not judged: no ACPI digests" : matches ? "matches" : "differs"}`,
    ...(matches === true ? [] : [`  expected  ${expected ?? "unknown"}`, `  actual    ${actual}`]),
    ...differences.filter(({ register }) => register === name).flatMap(differenceLines),
  ]);
  return lines.join("\n");
}

function differenceLines({ event, expected, actual, input, because }: Difference): string[] {
  const values =
    event === null
      ? []
      : [`  ${event}`, `    expected  ${expected ?? "no such event"}`, `    actual    ${actual ?? "no such event"}`];
  return [
    ...values,
    `${event === null ? "  " : "    "}${because === null ? `because of ${input}: no other input that was tried leads to it` : `because ${because}`}`,
  ];
}

function notesOf(config: VmConfig, osImageHash: Uint8Array, files: ImageFiles, acpi: string | undefined): string[] {
  const material = config.tdxMeasurement;
  const isOtherDocument = material !== undefined && !equal(material.measurement, encodeLiteDocument(liteDocumentOf(files)));
  const isOtherImage = config.osImageHash.length > 0 && !equal(config.osImageHash, osImageHash);
  return [
    "the evidence is read, not verified: ./run evidence verify does that",
    ...(isOtherImage ? [`the VM configuration is for another image: os_image_hash ${toHex(config.osImageHash)}`] : []),
    ...(isOtherDocument ? [`its ${LITE_DOCUMENT_NAME} is not that of this image`] : []),
    ...(acpi === undefined
      ? ["rtmr0 needs ACPI digests: --acpi FILE, --acpi-program PATH, or evidence with an event log"]
      : [`ACPI digests from ${acpi}`]),
  ];
}

function refusalOf(wrong: readonly string[], differences: readonly Difference[]): KmsError {
  const known = differences.flatMap(({ because }) => because ?? []);
  const message = `not the registers of this image: ${wrong.join(", ")} ${wrong.length === 1 ? "differs" : "differ"}`;
  const suspects = [...new Set(differences.filter(({ because }) => because === null).map(({ input }) => input))];
  const hint =
    known.length > 0
      ? `correct what explains it: ${[...new Set(known)].join("; ")}`
      : `compare with what the guest was started from: ${suspects.join("; ")}`;
  return hinted("unproven.os-image", message, hint);
}
