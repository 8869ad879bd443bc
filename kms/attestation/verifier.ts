/** The verifier: the numbered checks from bound evidence to verified evidence. Signatures come before any work on the event log. */
import { equal, isZero, toHex, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { requireBootOrder } from "./event-order.ts";
import { checkPreimages, replayEvents } from "./events.ts";
import type { Evidence, GcpTdxEvidence, Stack, TdxEvidence } from "./evidence.ts";
import { type BoundEvidence, reportData } from "./report-data.ts";
import type { Collateral } from "./tdx/collateral.ts";
import type { CollateralSource } from "./tdx/collateral-store.ts";
import { OpenedCollateral } from "./tdx/opened-collateral.ts";
import { parseQuote, type Quote } from "./tdx/quote.ts";
import type { TdReport10, TdReport15 } from "./tdx/report.ts";
import type { TrustAnchor } from "./tdx/trust-anchor.ts";
import { type VerifiedQuote, verifyQuote } from "./tdx/verify.ts";

declare const verifiedTd: unique symbol;

export type TdReport = TdReport10 | TdReport15;

/** A verified quote that is a TD's, not an enclave's, and passes the checks on the TD's attributes. */
export type VerifiedTdQuote = VerifiedQuote & {
  readonly [verifiedTd]: true;
  readonly quote: Quote & { readonly body: TdReport };
};

type BoundTdxEvidence = BoundEvidence & { readonly platform: TdxEvidence };

/** A class, and not exported: only this file makes one, and a copy made by spreading is none. */
class Verified {
  declare protected readonly brand: true;
  readonly evidence: BoundTdxEvidence;
  readonly quote: VerifiedTdQuote;
  /** What the proof rests on: with anything else, or at another time, it may come out otherwise. */
  readonly basis: VerificationInputs;

  constructor(evidence: BoundTdxEvidence, quote: VerifiedTdQuote, basis: VerificationInputs) {
    this.evidence = evidence;
    this.quote = quote;
    this.basis = basis;
  }
}

export type VerifiedEvidence = Verified;

type BoundGcpEvidence = BoundEvidence & { readonly platform: GcpTdxEvidence };

/** The TDX half of a GCP guest's evidence. Another class, so that nothing takes it for the whole: the vTPM half is not in it. */
class VerifiedHalf {
  declare protected readonly half: true;
  readonly evidence: BoundGcpEvidence;
  readonly quote: VerifiedTdQuote;

  constructor(evidence: BoundGcpEvidence, quote: VerifiedTdQuote) {
    this.evidence = evidence;
    this.quote = quote;
  }
}

export type VerifiedTdxHalf = VerifiedHalf;

export interface Verifier {
  verify(evidence: BoundEvidence): Promise<VerifiedEvidence>;
}

export interface VerifierSettings {
  readonly tdxRoot: TrustAnchor;
  readonly collateral: CollateralSource;
  readonly now: () => Date;
}

export interface VerificationInputs {
  readonly collateral: Collateral;
  readonly anchor: TrustAnchor;
  readonly now: Date;
}

export function createVerifier(settings: VerifierSettings): Verifier {
  const memory = new OpenedCollateral();
  return {
    async verify(evidence) {
      // the cheap refusals first: nobody makes us fetch collateral for evidence that cannot pass
      const quote = parseQuote(tdxOf(evidence).quote);
      checkPodPayload(evidence.stack);
      const collateral = await settings.collateral.collateralFor(quote);
      return verifyEvidenceWith(evidence, collateral, settings.tdxRoot, settings.now(), memory);
    },
  };
}

/** The pure step: the same answer for the same evidence, collateral, anchor and time. */
export function verifyEvidenceWith(
  evidence: BoundEvidence,
  collateral: Collateral,
  anchor: TrustAnchor,
  now: Date,
  memory?: OpenedCollateral,
): VerifiedEvidence {
  const inputs = { collateral, anchor, now };
  const platform = tdxOf(evidence);
  const quote = verifyTdxPart(evidence.stack, platform, inputs, memory);
  return new Verified({ ...evidence, platform }, quote, inputs);
}

/** Not enough for any key: the link to the vTPM and its PCRs are still to be proven. */
export function verifyTdxHalf(evidence: BoundEvidence, inputs: VerificationInputs): VerifiedTdxHalf {
  const { platform } = evidence;
  if (platform.kind !== "gcp-tdx") throw unsupported(platform.kind);
  return new VerifiedHalf({ ...evidence, platform }, verifyTdxPart(evidence.stack, platform, inputs));
}

function verifyTdxPart(
  stack: Stack,
  platform: TdxEvidence | GcpTdxEvidence,
  inputs: VerificationInputs,
  memory?: OpenedCollateral,
): VerifiedTdQuote {
  checkPodPayload(stack); // 2
  const quote = verifyTdQuote(parseQuote(platform.quote), inputs, memory); // 3, 4
  checkReplay(stack, quote.quote.body); // 5
  checkQuotedReportData(stack, quote.quote.body); // 6
  checkPreimages(platform.eventLog); // 8; 7 is for the vTPM of GCP
  return quote;
}

/** DCAP, then what dstack demands of a TD. */
export function verifyTdQuote(quote: Quote, inputs: VerificationInputs, memory?: OpenedCollateral): VerifiedTdQuote {
  return requireTd(verifyQuote({ quote, ...inputs }, memory));
}

/** No service TD, no debug, an Intel-signed module, and a TD report at all. DCAP looked at some of it; this is the owner's rule. */
export function requireTd(quote: VerifiedQuote): VerifiedTdQuote {
  const { body } = quote.quote;
  if (body.kind === "sgx") throw new KmsError("unproven.tee-type", "no td report");
  if (body.kind === "td15" && !isZero(body.mrServiceTd)) throw new KmsError("unproven.service-td", "Invalid mr service td");
  if (((body.tdAttributes[0] ?? 1) & 1) !== 0) throw new KmsError("unproven.debug", "Debug mode is not allowed");
  if (!isZero(body.mrSignerSeam)) throw new KmsError("unproven.tdx-module", "Invalid mr signer seam");
  return quote as VerifiedTdQuote;
}

function tdxOf({ platform }: Evidence): TdxEvidence {
  if (platform.kind !== "tdx") throw unsupported(platform.kind);
  return platform;
}

function unsupported(kind: string): KmsError {
  return new KmsError("unproven.platform-unsupported", `platform ${kind} is not supported by this release`);
}

function checkPodPayload({ kind, reportDataPayload, reportData: claimed }: Stack): void {
  if (kind !== "dstack-pod" || reportDataPayload === undefined) return;
  if (!equal(claimed, reportData("app-data", utf8(reportDataPayload)))) {
    throw new KmsError("unproven.report-data", "report_data does not match report_data_payload");
  }
}

function checkReplay({ runtimeEvents }: Stack, { rtmr3 }: TdReport): void {
  const replayed = replayEvents(runtimeEvents, "sha384");
  if (!equal(replayed, rtmr3)) {
    throw new KmsError("unproven.event-log", `RTMR3 mismatch, quoted: ${toHex(rtmr3)}, replayed: ${toHex(replayed)}`);
  }
  requireBootOrder(runtimeEvents);
}

function checkQuotedReportData({ reportData: claimed }: Stack, body: TdReport): void {
  if (!equal(body.reportData, claimed)) throw new KmsError("unproven.report-data", "tdx report_data mismatch");
}
