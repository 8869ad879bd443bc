/** Shows which SGX enclave answered a guest that asked for its disk key: the answer, the quote it asked with, and the evidence it gives now. */
import { createHash } from "node:crypto";
import { encodeKeyProviderInfo } from "../kms/attestation/key-provider-info.ts";
import {
  type KeyProviderProof,
  MAX_RESPONSE_BYTES,
  parseKeyProviderResponse,
  proveKeyProvider,
  requireSealedBy,
} from "../kms/attestation/key-provider-quote.ts";
import { bindEvidence, reportData } from "../kms/attestation/report-data.ts";
import { parseQuote } from "../kms/attestation/tdx/quote.ts";
import { type VerificationInputs, verifyEvidenceWith, verifyTdQuote } from "../kms/attestation/verifier.ts";
import { equal, fromUtf8, toHex } from "../kms/bytes.ts";
import { KmsError } from "../kms/errors.ts";
import { type BasisOptions, readBasis } from "./evidence-basis.ts";
import { type EvidenceInput, MAX_INPUT_BYTES, readEvidenceInput } from "./evidence-input.ts";
import type { CommandResult } from "./lib/cli.ts";
import { parseHexOption } from "./lib/hex-option.ts";
import { readInput } from "./lib/input-file.ts";

export interface KeyProviderOptions extends BasisOptions {
  readonly response: string;
  readonly quote: string;
  readonly evidence?: string;
  readonly mrEnclave?: string;
  /** Of the guest's quote, and of the evidence. */
  readonly collateral?: string;
  readonly sgxCollateral?: string;
}

export interface KeyProviderProofReport {
  readonly mrEnclave: string;
  readonly mrSigner: string;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly provider: { readonly tcbStatus: string; readonly advisoryIds: readonly string[] };
  readonly guest: { readonly tcbStatus: string; readonly advisoryIds: readonly string[] };
  readonly deviceId: string;
  /** What the guest has to have recorded. */
  readonly keyProviderEvent: string;
  /** By a guest of the same launch, in the evidence; null when none was given to compare. */
  readonly isRecorded: boolean | null;
}

export async function keyProviderResult(options: KeyProviderOptions): Promise<CommandResult> {
  const report = await proveKeyProviderFiles(options);
  const notes = report.isRecorded === null ? ["without --evidence nothing shows that a guest took a key of this enclave"] : [];
  return { json: report, text: inWords(report), notes };
}

export async function proveKeyProviderFiles(options: KeyProviderOptions): Promise<KeyProviderProofReport> {
  const basis = await readBasis(options);
  const response = parseKeyProviderResponse(await readInput(options.response, MAX_RESPONSE_BYTES));
  const asked = parseQuote(tdxQuoteOf(readEvidenceInput(await readInput(options.quote, MAX_INPUT_BYTES))));
  const tdx = await basis.inputsFor(asked, options.collateral);
  const guest = verifyTdQuote(asked, tdx);
  const sgx = await basis.inputsFor(parseQuote(response.providerQuote), options.sgxCollateral);
  const proof = proveKeyProvider(response, guest, sgx);
  if (options.mrEnclave !== undefined) requireEnclave(proof, parseHexOption(options.mrEnclave, "--mr-enclave", 32));
  if (options.evidence !== undefined) await compareWith(options.evidence, proof, tdx);
  return reportOn(proof, options.evidence !== undefined);
}

async function compareWith(file: string, proof: KeyProviderProof, tdx: VerificationInputs): Promise<void> {
  const input = readEvidenceInput(await readInput(file, MAX_INPUT_BYTES));
  if (input.kind === "quote") {
    throw new KmsError("unproven.key-provider", "--evidence: a quote without an event log names no key provider");
  }
  const { certificate, evidence } = input;
  const expected = certificate === undefined ? evidence.stack.reportData : reportData("ratls-cert", certificate.spki);
  requireSealedBy(proof, verifyEvidenceWith(bindEvidence(evidence, expected), tdx.collateral, tdx.anchor, tdx.now));
}

function requireEnclave({ mrEnclave }: KeyProviderProof, wanted: Uint8Array): void {
  if (equal(mrEnclave, wanted)) return;
  throw new KmsError("unproven.key-provider", `key provider: need MRENCLAVE ${toHex(wanted)}, have ${toHex(mrEnclave)}`);
}

function tdxQuoteOf(input: EvidenceInput): Uint8Array {
  if (input.kind === "quote") return input.quote;
  const { platform } = input.evidence;
  if (platform.kind === "tdx") return platform.quote;
  throw new KmsError("unproven.platform-unsupported", `platform ${platform.kind} asks no local key provider`);
}

function reportOn(proof: KeyProviderProof, isCompared: boolean): KeyProviderProofReport {
  const { mrEnclave, mrSigner, isvProdId, isvSvn, provider, guest } = proof;
  const event = encodeKeyProviderInfo({ kind: "local", id: mrEnclave });
  return {
    mrEnclave: toHex(mrEnclave),
    mrSigner: toHex(mrSigner),
    isvProdId,
    isvSvn,
    provider: { tcbStatus: provider.status, advisoryIds: provider.advisoryIds },
    guest: { tcbStatus: guest.status, advisoryIds: guest.advisoryIds },
    deviceId: createHash("sha256").update(guest.ppid).digest("hex"),
    keyProviderEvent: fromUtf8(event, "key-provider event", "fault.internal"),
    isRecorded: isCompared ? true : null,
  };
}

function inWords(report: KeyProviderProofReport): string {
  const tcb = ({ tcbStatus, advisoryIds }: KeyProviderProofReport["guest"]) => [tcbStatus, ...advisoryIds].join(" ");
  const lines = {
    mrEnclave: report.mrEnclave,
    mrSigner: report.mrSigner,
    isvProdId: report.isvProdId,
    isvSvn: report.isvSvn,
    provider: tcb(report.provider),
    guest: tcb(report.guest),
    deviceId: report.deviceId,
    event: report.keyProviderEvent,
    evidence:
      report.isRecorded === null ? "not given" : "of a guest with the launch of the one that asked, and names this enclave",
  };
  return ["proven", ...Object.entries(lines).map(([name, value]) => `  ${name.padEnd(10)} ${value}`)].join("\n");
}
