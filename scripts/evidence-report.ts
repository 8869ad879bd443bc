/** What `evidence verify` reports: the shape of its JSON, and the same in words. */
import type { BootInfoHex } from "../kms/attestation/boot-info.ts";
import type { MrConfigStanding } from "../kms/attestation/mr-config.ts";
import type { RegisterStandings } from "../kms/attestation/register-replay.ts";
import type { VerifiedQuote } from "../kms/attestation/tdx/verify.ts";
import type { VerifiedTdQuote } from "../kms/attestation/verifier.ts";
import { toHex } from "../kms/bytes.ts";
import { KmsError } from "../kms/errors.ts";
import type { CertificateEvidence } from "../kms/ra-tls/extensions.ts";
import type { KeyProviderReport } from "./evidence-boot-mode.ts";

interface TcbReport {
  readonly ok: true;
  readonly tcbStatus: string;
  readonly advisoryIds: readonly string[];
}

/** The evidence is bound to this key, so whoever holds it speaks for the machine. */
interface LeafReport {
  readonly spki: string;
  readonly usage: string | null;
}

/** What a log of events says besides BootInfo. */
export interface LogReport {
  /** Which registers the log accounts for; a mismatch is a refusal. */
  readonly registers: RegisterStandings & { readonly rtmr3?: "replayed" };
  /** Null while a guest boots, and for an event that guests do not write. */
  readonly keyProvider: KeyProviderReport | null;
  readonly mrConfigId: MrConfigStanding & { readonly value: string };
}

export interface TdReport extends TcbReport, Partial<LogReport> {
  readonly kind: "tdx";
  readonly mrtd: string;
  readonly rtmr: readonly string[];
  readonly reportData: string;
  readonly bootInfo: BootInfoHex | null;
  readonly certificate?: LeafReport;
}

export interface EnclaveReport extends TcbReport {
  readonly kind: "sgx";
  readonly mrEnclave: string;
  readonly mrSigner: string;
  readonly reportData: string;
  readonly bootInfo: null;
}

export type EvidenceReport = TdReport | EnclaveReport;

export function tdReport({ quote: { body }, status, advisoryIds }: VerifiedTdQuote, bootInfo: BootInfoHex | null): TdReport {
  return {
    ok: true,
    kind: "tdx",
    tcbStatus: status,
    advisoryIds,
    mrtd: toHex(body.mrTd),
    rtmr: [body.rtmr0, body.rtmr1, body.rtmr2, body.rtmr3].map(toHex),
    reportData: toHex(body.reportData),
    bootInfo,
  };
}

/** An enclave is no TD and never gets a key; DCAP can still be judged. */
export function enclaveReport({ quote: { body }, status, advisoryIds }: VerifiedQuote): EnclaveReport {
  if (body.kind !== "sgx") throw new KmsError("fault.internal", "not an enclave report");
  return {
    ok: true,
    kind: "sgx",
    tcbStatus: status,
    advisoryIds,
    mrEnclave: toHex(body.mrEnclave),
    mrSigner: toHex(body.mrSigner),
    reportData: toHex(body.reportData),
    bootInfo: null,
  };
}

export function leafReport({ spki, usage }: CertificateEvidence): LeafReport {
  return { spki: toHex(spki), usage: usage ?? null };
}

export function inWords(report: EvidenceReport): string {
  const lines = {
    kind: report.kind,
    tcbStatus: report.tcbStatus,
    ...(report.kind === "tdx" ? tdWords(report) : { mrEnclave: report.mrEnclave, mrSigner: report.mrSigner }),
    reportData: report.reportData,
    ...(report.kind === "tdx" && report.certificate ? leafWords(report.certificate) : {}),
    ...(report.bootInfo ?? { bootInfo: "none: the file holds a quote without an event log" }),
    ...(report.kind === "tdx" ? logWords(report) : {}),
    advisoryIds: report.advisoryIds.join(" ") || "none",
  };
  return ["verified", ...Object.entries(lines).map(([name, value]) => `  ${name.padEnd(16)} ${value}`)].join("\n");
}

function tdWords({ mrtd, rtmr }: TdReport): Record<string, string> {
  return { mrtd, ...Object.fromEntries(rtmr.map((value, index) => [`rtmr${index}`, value])) };
}

function leafWords({ spki, usage }: LeafReport): Record<string, string> {
  return { boundTo: spki, usage: usage ?? "none" };
}

function logWords({ registers, keyProvider, mrConfigId }: TdReport): Record<string, string> {
  const replayed = Object.entries(registers ?? {}).filter(([, standing]) => standing === "replayed");
  return {
    ...(registers && { replayed: replayed.map(([name]) => name).join(" ") }),
    ...(keyProvider && { keyProvider: `${keyProvider.name} ${keyProvider.id}`.trim() }),
    ...(mrConfigId && { mrConfigId: mrConfigId.version === 0 ? mrConfigId.state : `v${mrConfigId.version} ${mrConfigId.state}` }),
  };
}
