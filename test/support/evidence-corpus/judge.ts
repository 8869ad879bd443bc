/** Puts a case before the verifier: the functions that GetAppKey and `evidence verify` call, in their order. */
import { appraiseBoot } from "../../../kms/attestation/appraise.ts";
import { bootInfoHex } from "../../../kms/attestation/boot-info.ts";
import { decodeEvidence, type Evidence, evidenceFromQuote } from "../../../kms/attestation/evidence.ts";
import { bindEvidence } from "../../../kms/attestation/report-data.ts";
import { parseCollateral } from "../../../kms/attestation/tdx/collateral.ts";
import { parseQuote } from "../../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../../kms/attestation/tdx/trust-anchor.ts";
import { type VerifiedQuote, verifyQuote } from "../../../kms/attestation/tdx/verify.ts";
import { type VerificationInputs, verifyEvidenceWith, verifyTdQuote } from "../../../kms/attestation/verifier.ts";
import { toHex } from "../../../kms/bytes.ts";
import { KmsError } from "../../../kms/errors.ts";
import type { Expected, Parts } from "./format.ts";
import { text } from "./format.ts";

const nothing = new Uint8Array();

/** Collateral in its JSON form, as files hold it and other verifiers read it. */
export function collateralText(parts: Parts): string {
  const hex = (name: keyof Parts) => toHex(parts[name] ?? nothing);
  const words = (name: keyof Parts) => text(parts[name] ?? nothing);
  return JSON.stringify({
    root_ca_crl: hex("root_ca_crl"),
    pck_crl: hex("pck_crl"),
    tcb_info_issuer_chain: words("tcb_info_issuer_chain"),
    tcb_info: words("tcb_info"),
    tcb_info_signature: hex("tcb_info_signature"),
    qe_identity_issuer_chain: words("qe_identity_issuer_chain"),
    qe_identity: words("qe_identity"),
    qe_identity_signature: hex("qe_identity_signature"),
    ...(parts.pck_certificate_chain === undefined ? {} : { pck_certificate_chain: words("pck_certificate_chain") }),
  });
}

/** What comes out: the code of a refusal, or the status and, with a whole attestation, its BootInfo. */
export function judge(parts: Parts): Expected {
  try {
    const inputs: VerificationInputs = {
      collateral: parseCollateral(collateralText(parts)),
      anchor: loadTrustAnchor(parts.root ?? nothing),
      now: new Date(text(parts.time ?? nothing)),
    };
    return parts.attestation === undefined && parts.event_log === undefined
      ? judgeQuote(parts, inputs)
      : judgeEvidence(parts, inputs);
  } catch (thrown) {
    if (thrown instanceof KmsError) return { code: thrown.code };
    throw thrown;
  }
}

function judgeQuote(parts: Parts, inputs: VerificationInputs): Expected {
  const quote = parseQuote(parts.quote ?? nothing);
  return outcome(quote.body.kind === "sgx" ? verifyQuote({ quote, ...inputs }) : verifyTdQuote(quote, inputs));
}

function judgeEvidence(parts: Parts, inputs: VerificationInputs): Expected {
  const evidence = evidenceOf(parts);
  const bound = bindEvidence(evidence, parts.report_data ?? evidence.stack.reportData);
  const verified = verifyEvidenceWith(bound, inputs.collateral, inputs.anchor, inputs.now);
  const { info } = appraiseBoot(verified, { vmConfig: text(parts.vm_config ?? nothing), mode: "runtime" });
  const { advisoryIds: _, ...bootInfo } = bootInfoHex(info);
  return { ...outcome(verified.quote), bootInfo };
}

function evidenceOf({ attestation, quote, event_log: eventLog }: Parts): Evidence {
  if (attestation !== undefined) return decodeEvidence(attestation);
  return evidenceFromQuote(quote ?? nothing, text(eventLog ?? nothing));
}

function outcome({ status, advisoryIds }: VerifiedQuote): Expected & object {
  return { status, advisoryIds };
}
