/** Verifies evidence in a file by the code that serves GetAppKey, and reports what it proves. */
import { appraiseBoot } from "../kms/attestation/appraise.ts";
import { type BootInfo, bootInfoHex } from "../kms/attestation/boot-info.ts";
import { decodeCcel, MAX_CCEL_BYTES } from "../kms/attestation/ccel.ts";
import { findEvent } from "../kms/attestation/events.ts";
import { evidenceFromQuote, type TdxEvent } from "../kms/attestation/evidence.ts";
import type { KeyProviderDemand } from "../kms/attestation/key-provider-info.ts";
import { type MrConfigDocument, mrConfigStanding, parseMrConfigDocument } from "../kms/attestation/mr-config.ts";
import { checkBootRegisters, checkFirmwareLog } from "../kms/attestation/register-replay.ts";
import { bindEvidence, reportData } from "../kms/attestation/report-data.ts";
import { parseQuote, type Quote } from "../kms/attestation/tdx/quote.ts";
import { verifyQuote } from "../kms/attestation/tdx/verify.ts";
import {
  type VerificationInputs,
  type VerifiedEvidence,
  type VerifiedTdQuote,
  verifyEvidenceWith,
  verifyTdQuote,
  verifyTdxHalf,
} from "../kms/attestation/verifier.ts";
import { toHex } from "../kms/bytes.ts";
import { KmsError } from "../kms/errors.ts";
import { type BasisOptions, readBasis } from "./evidence-basis.ts";
import { type BootModeOptions, judgeBootMode, readDemand } from "./evidence-boot-mode.ts";
import { type EvidenceInput, MAX_INPUT_BYTES, readEventLog, readEvidenceInput } from "./evidence-input.ts";
import { type EvidenceReport, enclaveReport, type LogReport, leafReport, tdReport } from "./evidence-report.ts";
import { readInput, readInputText } from "./lib/input-file.ts";

export interface EvidenceVerifyOptions extends BasisOptions, BootModeOptions {
  readonly collateral?: string;
  readonly vmConfig?: string;
  /** Of a quote that comes without one. */
  readonly eventLog?: string;
  /** The firmware's own log of the boot. */
  readonly ccel?: string;
  /** The document that version 3 of mr_config_id hashes. */
  readonly mrConfig?: string;
}

/** What the options ask beyond DCAP. */
interface Demands {
  readonly vmConfig: string | undefined;
  readonly firmwareLog: readonly TdxEvent[] | undefined;
  readonly keyProvider: KeyProviderDemand | undefined;
  readonly mrConfig: MrConfigDocument | undefined;
}

export interface VerifiedFile {
  readonly report: EvidenceReport;
  readonly notes: readonly string[];
}

export async function verifyEvidenceFile(file: string, options: EvidenceVerifyOptions): Promise<EvidenceReport> {
  return (await verifyEvidence(file, options)).report;
}

export async function verifyEvidence(file: string, options: EvidenceVerifyOptions): Promise<VerifiedFile> {
  const basis = await readBasis(options);
  const read = readEvidenceInput(await readInput(file, MAX_INPUT_BYTES));
  const input = options.eventLog === undefined ? read : withLog(read, await readInputText(options.eventLog, MAX_INPUT_BYTES));
  const demands: Demands = {
    vmConfig: options.vmConfig === undefined ? undefined : await readInputText(options.vmConfig, MAX_INPUT_BYTES),
    firmwareLog: options.ccel === undefined ? undefined : decodeCcel(await readInput(options.ccel, MAX_CCEL_BYTES)),
    keyProvider: await readDemand(options),
    mrConfig:
      options.mrConfig === undefined ? undefined : parseMrConfigDocument(await readInputText(options.mrConfig, MAX_INPUT_BYTES)),
  };
  const quote = parseQuote(quoteBytes(input));
  return reportOn(input, quote, await basis.inputsFor(quote, options.collateral), demands);
}

function withLog(input: EvidenceInput, text: string): EvidenceInput {
  if (input.kind === "evidence") throw new KmsError("malformed.usage", "--event-log: the evidence has a log of its own");
  return { kind: "evidence", evidence: evidenceFromQuote(input.quote, readEventLog(text)), vmConfig: "" };
}

function reportOn(input: EvidenceInput, quote: Quote, inputs: VerificationInputs, demands: Demands): VerifiedFile {
  if (input.kind === "quote") return { report: reportOnQuote(quote, inputs, demands), notes: [] };
  const { certificate } = input;
  // without a certificate there is no key here to bind to: the report data is printed, and the caller compares it
  const expected = certificate === undefined ? input.evidence.stack.reportData : reportData("ratls-cert", certificate.spki);
  const bound = bindEvidence(input.evidence, expected);
  if (bound.platform.kind === "gcp-tdx") throw halfOnly(verifyTdxHalf(bound, inputs).quote);
  const verified = verifyEvidenceWith(bound, inputs.collateral, inputs.anchor, inputs.now);
  const { info } = appraiseBoot(verified, { vmConfig: demands.vmConfig ?? input.vmConfig, mode: "runtime" });
  const { log, notes } = reportOnLog(verified, info, demands);
  const report = { ...tdReport(verified.quote, bootInfoHex(info)), ...log };
  return { report: certificate === undefined ? report : { ...report, certificate: leafReport(certificate) }, notes };
}

/** A bare quote has no log: what is demanded of one cannot be shown. */
function reportOnQuote(quote: Quote, inputs: VerificationInputs, demands: Demands): EvidenceReport {
  if (quote.body.kind === "sgx") return enclaveReport(verifyQuote({ quote, ...inputs }));
  const verified = verifyTdQuote(quote, inputs);
  if (demands.keyProvider !== undefined) {
    throw new KmsError("unproven.key-provider", "the file holds a quote without an event log, which names no key provider");
  }
  const report = tdReport(verified, null);
  if (demands.firmwareLog === undefined) return report;
  return { ...report, registers: checkFirmwareLog(verified.quote.body, demands.firmwareLog) };
}

function reportOnLog(
  { evidence, quote }: VerifiedEvidence,
  info: BootInfo,
  demands: Demands,
): { readonly log: LogReport; readonly notes: readonly string[] } {
  const { body } = quote.quote;
  const mode = judgeBootMode(findEvent(evidence.stack.runtimeEvents, "key-provider"), demands.keyProvider);
  const standing = mrConfigStanding(body.mrConfigId, { ...info, ...(mode.info && { keyProvider: mode.info }) }, demands.mrConfig);
  const differs =
    standing.state === "differs" ? ["mr_config_id does not say what the events say: no guest of dstack boots so"] : [];
  const own = checkBootRegisters(body, evidence.platform.eventLog);
  const registers = demands.firmwareLog === undefined ? own : checkFirmwareLog(body, demands.firmwareLog);
  return {
    log: {
      registers: { ...registers, rtmr3: "replayed" },
      keyProvider: mode.report,
      mrConfigId: { value: toHex(body.mrConfigId), ...standing },
    },
    notes: [...mode.notes, ...differs],
  };
}

/** The half that can be judged is judged first, so that its own refusal is the one that is told. */
function halfOnly({ status }: VerifiedTdQuote): KmsError {
  const half = `the TDX half verifies with status ${status}, but this release does not verify the vTPM half`;
  return new KmsError("unproven.platform-unsupported", `platform gcp-tdx: ${half}`);
}

function quoteBytes(input: EvidenceInput): Uint8Array {
  if (input.kind === "quote") return input.quote;
  const { platform } = input.evidence;
  if (platform.kind === "tdx" || platform.kind === "gcp-tdx") return platform.quote;
  throw new KmsError("unproven.platform-unsupported", `platform ${platform.kind} is not supported by this release`);
}
