/** Verifies evidence in a file by the code that serves GetAppKey, and reports what it proves. */
import { appraiseBoot } from "../kms/attestation/appraise.ts";
import { type BootInfoHex, bootInfoHex } from "../kms/attestation/boot-info.ts";
import { bindEvidence, reportData } from "../kms/attestation/report-data.ts";
import { type Collateral, parseCollateral } from "../kms/attestation/tdx/collateral.ts";
import { createCollateralStore } from "../kms/attestation/tdx/collateral-store.ts";
import { DEFAULT_PCCS_URL } from "../kms/attestation/tdx/pccs.ts";
import { parseQuote, type Quote } from "../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa, loadTrustAnchor, type TrustAnchor } from "../kms/attestation/tdx/trust-anchor.ts";
import { type VerifiedQuote, verifyQuote } from "../kms/attestation/tdx/verify.ts";
import { type VerificationInputs, type VerifiedTdQuote, verifyEvidenceWith, verifyTdQuote } from "../kms/attestation/verifier.ts";
import { toHex } from "../kms/bytes.ts";
import { KmsError } from "../kms/errors.ts";
import type { CertificateEvidence } from "../kms/ra-tls/extensions.ts";
import { type EvidenceInput, MAX_INPUT_BYTES, readEvidenceInput } from "./evidence-input.ts";
import { readInput, readInputText } from "./lib/input-file.ts";

export interface EvidenceVerifyOptions {
  readonly collateral?: string;
  readonly root?: string;
  readonly at?: string;
  readonly vmConfig?: string;
  readonly pccs?: string;
}

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

export type EvidenceReport = TcbReport & { readonly certificate?: LeafReport } & (
    | {
        readonly kind: "tdx";
        readonly mrtd: string;
        readonly rtmr: readonly string[];
        readonly reportData: string;
        readonly bootInfo: BootInfoHex | null;
      }
    | {
        readonly kind: "sgx";
        readonly mrEnclave: string;
        readonly mrSigner: string;
        readonly reportData: string;
        readonly bootInfo: null;
      }
  );

export async function verifyEvidenceFile(file: string, options: EvidenceVerifyOptions): Promise<EvidenceReport> {
  const now = options.at === undefined ? new Date() : parseTime(options.at);
  const input = readEvidenceInput(await readInput(file, MAX_INPUT_BYTES));
  const anchor = options.root === undefined ? intelSgxRootCa : loadTrustAnchor(await readInput(options.root, MAX_INPUT_BYTES));
  const vmConfig = options.vmConfig === undefined ? undefined : await readInputText(options.vmConfig, MAX_INPUT_BYTES);
  const quote = parseQuote(quoteBytes(input));
  const collateral = await collateralFor(quote, options, anchor, now);
  return reportOn(input, quote, { collateral, anchor, now }, vmConfig);
}

function reportOn(input: EvidenceInput, quote: Quote, inputs: VerificationInputs, vmConfig: string | undefined): EvidenceReport {
  if (input.kind === "quote") {
    return quote.body.kind === "sgx"
      ? sgxReport(verifyQuote({ quote, ...inputs }))
      : tdReport(verifyTdQuote(quote, inputs), null);
  }
  const { certificate } = input;
  // without a certificate there is no key here to bind to: the report data is printed, and the caller compares it
  const expected = certificate === undefined ? input.evidence.stack.reportData : reportData("ratls-cert", certificate.spki);
  const bound = bindEvidence(input.evidence, expected);
  const verified = verifyEvidenceWith(bound, inputs.collateral, inputs.anchor, inputs.now);
  const { info } = appraiseBoot(verified, { vmConfig: vmConfig ?? input.vmConfig, mode: "runtime" });
  const report = tdReport(verified.quote, bootInfoHex(info));
  return certificate === undefined ? report : { ...report, certificate: leafOf(certificate) };
}

function tdReport({ quote: { body }, status, advisoryIds }: VerifiedTdQuote, bootInfo: BootInfoHex | null): EvidenceReport {
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

function leafOf({ spki, usage }: CertificateEvidence): LeafReport {
  return { spki: toHex(spki), usage: usage ?? null };
}

/** An enclave is no TD and never gets a key; DCAP can still be judged. */
function sgxReport({ quote: { body }, status, advisoryIds }: VerifiedQuote): EvidenceReport {
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

function quoteBytes(input: EvidenceInput): Uint8Array {
  if (input.kind === "quote") return input.quote;
  const { platform } = input.evidence;
  if (platform.kind === "tdx") return platform.quote;
  throw new KmsError("unproven.platform-unsupported", `platform ${platform.kind} is not supported by this release`);
}

async function collateralFor(quote: Quote, options: EvidenceVerifyOptions, anchor: TrustAnchor, now: Date): Promise<Collateral> {
  if (options.collateral !== undefined) return parseCollateral(await readInputText(options.collateral, MAX_INPUT_BYTES));
  const store = createCollateralStore({ pccsUrl: options.pccs ?? DEFAULT_PCCS_URL, anchor, now: () => now });
  return store.collateralFor(quote);
}

/** A time with its zone: local time would make the answer depend on the machine. */
function parseTime(text: string): Date {
  const isIso = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/.test(text);
  const time = new Date(text);
  if (isIso && !Number.isNaN(time.getTime())) return time;
  throw new KmsError("malformed.usage", "--at: need an ISO time with zone, such as 2026-06-15T00:00:00Z");
}
