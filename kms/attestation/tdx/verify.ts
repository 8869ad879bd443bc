/** The DCAP verification: evidence, collateral, trust anchor and time in, a verified quote or the first refusal out. */
import { hash } from "node:crypto";
import { concat, equal, fromUtf8, isZero } from "../../bytes.ts";
import { type Code, KmsError } from "../../errors.ts";
import { requireAttributes } from "./attributes.ts";
import { type ChainVerifier, openChains } from "./chain-verifier.ts";
import type { Collateral } from "./collateral.ts";
import type { OpenedCollateral } from "./opened-collateral.ts";
import { isSignedRaw, keyFromPoint } from "./p256.ts";
import { isPckCertificate, type PlatformIdentity } from "./pck.ts";
import { parseQeIdentity, type QeIdentity, verifyQeIdentity } from "./qe-identity.ts";
import { type Quote, TEE_TYPE_SGX, TEE_TYPE_TDX } from "./quote.ts";
import { parseTcbInfo, type TcbInfo } from "./tcb-info.ts";
import { matchTcbLevel, matchTdxModule, type TdReport, type TdxModuleTcb } from "./tcb-match.ts";
import { mergeTcb, type Tcb, type TcbStatus, tcbOf } from "./tcb-status.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import type { Certificate } from "./x509.ts";

declare const verified: unique symbol;

/** Every step of the verification was passed; every status but Revoked is left to the owner's policy. */
export interface VerifiedQuote extends PlatformIdentity {
  readonly [verified]: true;
  readonly quote: Quote;
  readonly status: TcbStatus;
  readonly advisoryIds: readonly string[];
  readonly qeStatus: Tcb;
  /** The module's judgement is merged in. */
  readonly platformStatus: Tcb;
  /** Undefined when no identity of the TCB info judged the module. */
  readonly tdxModule: TdxModuleTcb | undefined;
  /** Seconds since 1970 at which the first part of the proof ends: collateral, a list, a certificate. */
  readonly endsAt: number;
}

export interface VerificationInput {
  readonly quote: Quote;
  readonly collateral: Collateral;
  readonly anchor: TrustAnchor;
  readonly now: Date;
}

/** Collateral whose signatures, chains and dates were verified at one time. */
export interface VerifiedCollateral {
  readonly [verified]: true;
  readonly tcbInfo: TcbInfo;
  readonly qeIdentity: QeIdentity;
  /** Seconds since 1970 at which the first part ends. */
  readonly nextUpdate: number;
}

type SignedTcbInfo = Pick<Collateral, "tcbInfo" | "tcbInfoSignature" | "tcbInfoIssuerChain">;
type SignedQeIdentity = Pick<Collateral, "qeIdentity" | "qeIdentitySignature" | "qeIdentityIssuerChain">;

const INTEL_QE_VENDOR = Uint8Array.from(Buffer.from("939a7233f79c4ca9940a0db3957f0607", "hex"));
const KEY_TYPE_P256 = 2;
const QE_AUTH_BYTES = 32;

/** The numbers are those of the public step list: 0 anchor and lists, 1–5 header, 6–12 collateral, 13–19 signatures, 20–24 TCB. */
export function verifyQuote({ quote, collateral, anchor, now }: VerificationInput, memory?: OpenedCollateral): VerifiedQuote {
  const known = memory?.recall(collateral, anchor, now);
  const chains = known?.chains ?? openChains(collateral, anchor, now); // 0, 0a
  requireHeader(quote); // 1–5
  const signed = known?.signed ?? verifySignedCollateral(collateral, chains); // 6–11
  memory?.keep(collateral, { chains, signed });
  const { tcbInfo, qeIdentity, nextUpdate } = signed;
  requireQeIdentityKind(quote, qeIdentity); // 12
  const { leaf: pck, platform, endsAt } = chains.pckOf(pckChainOf(quote, collateral)); // 13, 14
  requireQeReport(quote, pck); // 15–17
  const qeStatus = verifyQeIdentity(quote.qe.report, qeIdentity); // 18
  requireQuoteSignature(quote); // 19
  requireSamePlatform(platform, tcbInfo); // 20
  requireTcbInfoKind(quote, tcbInfo); // 21
  const { platformStatus, tdxModule } = judgePlatform(quote, platform, tcbInfo); // 22
  const merged = mergeTcb(platformStatus, qeStatus);
  if (merged.status === "Revoked") throw refuse("unproven.tcb-revoked", "TCB status is invalid: Revoked"); // 23
  requireAttributes(quote.body); // 24
  const parts = { ...platform, quote, ...merged, qeStatus, platformStatus, tdxModule };
  return { ...parts, endsAt: Math.min(nextUpdate, endsAt) } as VerifiedQuote;
}

function requireHeader(quote: Quote): void {
  // stricter than the reference, which ignores them: nothing signs these bytes, so they may only be the zero rest of a buffer
  if (!isZero(quote.trailing) || !isZero(quote.authPadding)) {
    throw refuse(
      "malformed.quote",
      `Failed to decode quote: ${quote.trailing.length} bytes after the auth data are not all zero`,
    );
  }
  if (!equal(quote.qeVendorId, INTEL_QE_VENDOR)) throw refuse("unproven.qe-vendor", "Unknown QE vendor ID");
  const { teeType, version } = quote;
  if (teeType !== TEE_TYPE_SGX && teeType !== TEE_TYPE_TDX) {
    throw refuse("unproven.tee-type", `Unsupported TEE type: ${teeType}`);
  }
  if (teeType === TEE_TYPE_TDX && version === 3) {
    throw refuse("unproven.tee-type", "TDX TEE quote must have version 4 or 5");
  }
  if (teeType === TEE_TYPE_SGX && version !== 3) throw refuse("unproven.tee-type", "SGX TEE quote must have version 3");
  if (quote.attestationKeyType !== KEY_TYPE_P256) {
    throw refuse("unproven.key-type", `Unsupported DCAP attestation key type: ${quote.attestationKeyType}`);
  }
}

function verifySignedCollateral(collateral: Collateral, chains: ChainVerifier): VerifiedCollateral {
  const tcbInfo = verifySignedTcbInfo(collateral, chains);
  const qeIdentity = verifySignedQeIdentity(collateral, chains);
  const signers = [collateral.tcbInfoIssuerChain, collateral.qeIdentityIssuerChain].map((pem) => chains.chainOf(pem).endsAt);
  const nextUpdate = Math.min(tcbInfo.nextUpdate, qeIdentity.nextUpdate, chains.endsAt, ...signers);
  return { tcbInfo, qeIdentity, nextUpdate } as VerifiedCollateral;
}

/** 6–10, also for a store that keeps each part of the collateral by itself. */
export function verifySignedTcbInfo(
  { tcbInfo: text, tcbInfoSignature, tcbInfoIssuerChain }: SignedTcbInfo,
  chains: ChainVerifier,
): TcbInfo {
  const tcbInfo = parseTcbInfo(text);
  requireWindow(tcbInfo, chains.at, "TCBInfo");
  requireSignedText(text, tcbInfoSignature, chains.leafOf(tcbInfoIssuerChain), "tcb_info");
  return tcbInfo;
}

/** 11. */
export function verifySignedQeIdentity(
  { qeIdentity: text, qeIdentitySignature, qeIdentityIssuerChain }: SignedQeIdentity,
  chains: ChainVerifier,
): QeIdentity {
  const qeIdentity = parseQeIdentity(text);
  requireWindow(qeIdentity, chains.at, "QE Identity");
  requireSignedText(text, qeIdentitySignature, chains.leafOf(qeIdentityIssuerChain), "qe_identity");
  return qeIdentity;
}

function requireWindow({ issueDate, nextUpdate }: TcbInfo | QeIdentity, at: number, what: string): void {
  if (at < issueDate) throw refuse("unproven.collateral-expired", `${what} issue date is in the future: ${issueDate}, now ${at}`);
  if (at > nextUpdate) throw refuse("unproven.collateral-expired", `${what} expired: ${nextUpdate}, now ${at}`);
}

function requireSignedText(text: string, signature: Uint8Array, signer: Certificate, member: string): void {
  // stricter than the reference: a key taken out of one machine must not judge the state of all machines
  if (isPckCertificate(signer)) {
    throw refuse("unproven.collateral-signature", `${member} in quote_collateral is signed by a platform, not by Intel`);
  }
  if (isSignedRaw(Buffer.from(text, "utf8"), signature, signer.publicKey)) return;
  throw refuse("unproven.collateral-signature", `Signature is invalid for ${member} in quote_collateral`);
}

function requireQeIdentityKind(quote: Quote, { id, version }: QeIdentity): void {
  const isTdx = quote.teeType === TEE_TYPE_TDX;
  const fits = isTdx ? id === "TD_QE" && (version === 2 || version === 3) : id === "QE" && version === 2;
  if (!fits) {
    const message = `Unsupported QE Identity id/version for the quote TEE type: ${id.slice(0, 16)} ${version}`;
    throw refuse("unproven.qe-identity", message);
  }
}

/**
 * The chain of the collateral, which then belongs to one machine, or the one inside the quote. A quote with an encrypted PPID has none:
 * whoever provides the collateral asks for the chain of `quote.qe.certification` and hands it over as the collateral's.
 */
export function pckChainOf({ qe }: Quote, collateral?: Collateral): string {
  if (collateral?.pckCertificateChain !== undefined) return collateral.pckCertificateChain;
  const { certification } = qe;
  if (certification.kind === "pck-chain") return fromUtf8(certification.pem, "PCK certificate chain", "malformed.quote");
  const have = certification.kind === "other" ? `type ${certification.type}` : "an encrypted PPID without the chain to it";
  throw refuse("unproven.platform-unsupported", `Unsupported DCAP PCK cert format: ${have}`);
}

function requireQeReport({ qe, attestationKey }: Quote, pck: Certificate): void {
  if (!isSignedRaw(qe.reportBytes, qe.signature, pck.publicKey)) {
    throw refuse("unproven.qe-report", "Signature is invalid for qe_report in quote");
  }
  if (qe.authData.length !== QE_AUTH_BYTES) {
    throw refuse("unproven.qe-report", `Invalid QE auth data length: need ${QE_AUTH_BYTES} bytes, have ${qe.authData.length}`);
  }
  const keyHash = hash("sha256", concat(attestationKey, qe.authData), "buffer");
  if (!equal(keyHash, qe.report.reportData.subarray(0, 32))) throw refuse("unproven.qe-report", "QE report hash mismatch");
}

function requireQuoteSignature({ signedPart, signature, attestationKey }: Quote): void {
  if (isSignedRaw(signedPart, signature, keyFromPoint(attestationKey, "malformed.quote"))) return;
  throw refuse("unproven.quote-signature", "ISV enclave report signature is invalid");
}

function requireSamePlatform({ fmspc, pceId }: PlatformIdentity, tcbInfo: TcbInfo): void {
  if (!/^[0-9a-fA-F]{12}$/.test(tcbInfo.fmspc)) throw refuse("malformed.collateral", "Failed to decode TCB FMSPC");
  if (!equal(fmspc, Buffer.from(tcbInfo.fmspc, "hex"))) throw refuse("unproven.platform", "Fmspc mismatch");
  // stricter than the reference and equal to Intel's verifier: the levels count SVNs of this PCE only
  if (!equal(pceId, tcbInfo.pceId)) throw refuse("unproven.platform", "PceId mismatch");
}

function requireTcbInfoKind(quote: Quote, { id, version }: TcbInfo): void {
  const isTdx = quote.teeType === TEE_TYPE_TDX;
  if (isTdx ? id === "TDX" && version >= 3 : id === "SGX" && version >= 2) return;
  const kind = isTdx ? "TDX" : "SGX";
  throw refuse("unproven.platform", `${kind} quote with non-${kind} TCB info in the collateral: ${id.slice(0, 16)} ${version}`);
}

function judgePlatform(
  quote: Quote,
  platform: PlatformIdentity,
  tcbInfo: TcbInfo,
): Pick<VerifiedQuote, "platformStatus" | "tdxModule"> {
  const td = tdReportOf(quote);
  if (td === undefined) return { platformStatus: tcbOf(matchTcbLevel(tcbInfo, platform)), tdxModule: undefined };
  const judge = (teeTcbSvn: Uint8Array) => {
    const own = tcbOf(matchTcbLevel(tcbInfo, platform, teeTcbSvn));
    const tdxModule = matchTdxModule(tcbInfo, td, teeTcbSvn);
    return { platformStatus: tdxModule ? mergeTcb(own, tdxModule) : own, tdxModule };
  };
  const started = judge(td.teeTcbSvn);
  if (td.kind === "td10") return started;
  // stricter than the reference, which ignores it: a module that was replaced under a running TD is judged as well as the one that started it
  const { platformStatus } = judge(td.teeTcbSvn2);
  return { ...started, platformStatus: mergeTcb(started.platformStatus, platformStatus) };
}

/** The TD report of a TDX quote. A version 5 quote can say TDX and carry an enclave report, which no TCB level judges. */
function tdReportOf({ teeType, body }: Quote): TdReport | undefined {
  if ((teeType === TEE_TYPE_TDX) !== (body.kind !== "sgx")) {
    throw refuse("unproven.tcb-level", `TEE type ${teeType} does not go with a report of kind ${body.kind}`);
  }
  return body.kind === "sgx" ? undefined : body;
}

function refuse(code: Code, message: string): KmsError {
  return new KmsError(code, message);
}
