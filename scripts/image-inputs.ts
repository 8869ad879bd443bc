/** What `image` reads beside the image: a VM configuration, a source of ACPI digests, and the registers of a guest. */

import { parseEventLog } from "../kms/attestation/events.ts";
import { isAcpiEvent, type TdxEvent } from "../kms/attestation/evidence.ts";
import { type AcpiMachine, type AcpiSource, acpiMachineOf } from "../kms/attestation/image/acpi.ts";
import { createAcpiData, MAX_ACPI_DATA_CHARACTERS } from "../kms/attestation/image/acpi-data.ts";
import { ACPI_PROGRAM, createAcpiProgram } from "../kms/attestation/image/acpi-program.ts";
import type { ImagePaths } from "../kms/attestation/image/image-files.ts";
import { type AcpiDigests, type LaunchRegisters, REGISTER_BYTES } from "../kms/attestation/image/registers.ts";
import { chooseVmConfig, embeddedVmConfig, parseVmConfig, type VmConfig } from "../kms/attestation/image/vm-config.ts";
import { parseQuote } from "../kms/attestation/tdx/quote.ts";
import { fromHex, needLength } from "../kms/bytes.ts";
import { errorCode, KmsError } from "../kms/errors.ts";
import { type EvidenceInput, MAX_INPUT_BYTES, readEvidenceInput } from "./evidence-input.ts";
import { usageError } from "./lib/cli.ts";
import { readInput, readInputText } from "./lib/input-file.ts";

export interface AcpiFlags {
  readonly acpi?: string;
  readonly acpiProgram?: string;
  readonly evidence?: string;
}

/** What a guest shows: its registers, and its log where there is one. */
export interface Guest {
  readonly registers: LaunchRegisters;
  readonly eventLog: readonly TdxEvent[];
  /** Its own configuration as text, or nothing. */
  readonly vmConfig: string;
}

export async function readVmConfig(file: string | undefined, guest?: Guest): Promise<VmConfig> {
  if (file !== undefined) return parseVmConfig(await readInputText(file, MAX_INPUT_BYTES));
  if (guest?.vmConfig) return parseVmConfig(guest.vmConfig);
  throw usageError("need --vm-config: the evidence carries no VM configuration", "./run image --help");
}

export async function readGuest(flags: { readonly evidence?: string; readonly registers?: string }): Promise<Guest> {
  if ((flags.evidence === undefined) === (flags.registers === undefined)) {
    throw usageError("need either --evidence or --registers", "./run image diagnose --help");
  }
  if (flags.registers !== undefined)
    return guestOfRegisters(await readInputText(flags.registers, MAX_INPUT_BYTES), flags.registers);
  return guestOfEvidence(readEvidenceInput(await readInput(flags.evidence ?? "", MAX_INPUT_BYTES)));
}

/** Read, not verified: a diagnosis says why two values differ, whoever made them. */
function guestOfEvidence(input: EvidenceInput): Guest {
  const platform =
    input.kind === "evidence" ? input.evidence.platform : { kind: "tdx" as const, quote: input.quote, eventLog: [] };
  if (platform.kind !== "tdx")
    throw new KmsError("unproven.platform-unsupported", `need evidence of a TD, have ${platform.kind}`);
  const { body } = parseQuote(platform.quote);
  if (body.kind === "sgx") throw new KmsError("unproven.tee-type", "need the quote of a TD, have that of an enclave");
  const { mrTd: mrtd, rtmr0, rtmr1, rtmr2 } = body;
  const vmConfig = input.kind === "evidence" ? chooseVmConfig(input.vmConfig, configOf(input.evidence.stack.config)) : "";
  return { registers: { mrtd, rtmr0, rtmr1, rtmr2 }, eventLog: platform.eventLog, vmConfig: vmConfig === "{}" ? "" : vmConfig };
}

function configOf(config: string): string {
  return config === "" ? "" : embeddedVmConfig(config);
}

/** A JSON object with the four registers in hex, such as `measure --json` prints and a guest's TCB information has. */
function guestOfRegisters(text: string, file: string): Guest {
  const value = jsonObject(text, file);
  const register = (name: string) => {
    const digits = value.get(name);
    if (typeof digits !== "string") throw new KmsError("malformed.file", `${file}: need ${name} in hex`);
    const bytes = fromHex(digits.replace(/^0x/i, ""), `${file} ${name}`, undefined, "malformed.file");
    return needLength(bytes, REGISTER_BYTES, `${file} ${name}`, "malformed.file");
  };
  const log = value.get("event_log");
  return {
    registers: { mrtd: register("mrtd"), rtmr0: register("rtmr0"), rtmr1: register("rtmr1"), rtmr2: register("rtmr2") },
    eventLog: log === undefined || log === null ? [] : parseEventLog(typeof log === "string" ? log : JSON.stringify(log)),
    vmConfig: "",
  };
}

function jsonObject(text: string, file: string): ReadonlyMap<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new KmsError("malformed.file", `${file}: not JSON, ${text.length} characters`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new KmsError("malformed.file", `${file}: need a JSON object`);
  return new Map(Object.entries(value));
}

export interface KnownAcpi {
  readonly digests: AcpiDigests;
  readonly from: string;
}

/** The chosen source, or the program on the PATH. Undefined: none was chosen, and the program is not there. */
export async function acpiFor(
  config: VmConfig,
  paths: ImagePaths,
  flags: AcpiFlags,
  guest?: Guest,
): Promise<KnownAcpi | undefined> {
  const chosen = [flags.acpi, flags.acpiProgram, flags.evidence].filter((flag) => flag !== undefined);
  if (chosen.length > 1) throw usageError("need one source of ACPI digests, have several", "./run image measure --help");
  if (flags.evidence !== undefined) {
    const { eventLog } = guest ?? (await readGuest({ evidence: flags.evidence }));
    return { digests: loggedAcpi(eventLog), from: "the event log, as the guest attests it" };
  }
  const machine = acpiMachineOf(config);
  if (flags.acpi !== undefined) {
    const data = createAcpiData(await readInputText(flags.acpi, MAX_ACPI_DATA_CHARACTERS));
    return { digests: await data.digestsOf(machine, paths), from: flags.acpi };
  }
  return fromProgram(machine, paths, flags.acpiProgram);
}

async function fromProgram(machine: AcpiMachine, paths: ImagePaths, chosen: string | undefined): Promise<KnownAcpi | undefined> {
  const program = chosen ?? ACPI_PROGRAM;
  const source: AcpiSource = createAcpiProgram({ program, environment: programEnvironment() });
  try {
    return { digests: await source.digestsOf(machine, paths), from: program };
  } catch (thrown) {
    if (chosen === undefined && isMissing(thrown)) return undefined;
    throw thrown;
  }
}

/** What a QEMU outside the usual folders needs to start. */
function programEnvironment(): Record<string, string> {
  const names = ["PATH", "LD_LIBRARY_PATH"];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? ""]])));
}

function isMissing(thrown: unknown): boolean {
  return thrown instanceof KmsError && errorCode(thrown.cause) === "ENOENT";
}

/** By name, or in the order in which firmware measures them: logs of old guests have no names. */
export function loggedAcpi(eventLog: readonly TdxEvent[]): AcpiDigests {
  const events = eventLog.filter(isAcpiEvent);
  const of = (name: string, index: number) => (events.find(({ event }) => event === name) ?? events[index])?.digest;
  const [loader, rsdp, tables] = [of("acpi-loader", 0), of("acpi-rsdp", 1), of("acpi-tables", 2)];
  if (
    events.length !== 3 ||
    !loader ||
    !rsdp ||
    !tables ||
    [loader, rsdp, tables].some(({ length }) => length !== REGISTER_BYTES)
  ) {
    throw new KmsError("malformed.event-log", `event log: need the 3 ACPI digests, have ${events.length} events of them`);
  }
  return { loader, rsdp, tables };
}
