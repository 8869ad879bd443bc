/** Real captures from the fixtures, verified at the time they are pinned to. */
import { readFileSync } from "node:fs";
import { decodeEvidence, type Evidence, evidenceFromQuote } from "../../kms/attestation/evidence.ts";
import { bindEvidence } from "../../kms/attestation/report-data.ts";
import { type Collateral, parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { intelSgxRootCa } from "../../kms/attestation/tdx/trust-anchor.ts";
import { type VerifiedEvidence, verifyEvidenceWith } from "../../kms/attestation/verifier.ts";
import { fromHex } from "../../kms/bytes.ts";

const folder = new URL("../fixtures/tdx/", import.meta.url);

export function realBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(name, folder)));
}

export function realJson(name: string): Record<string, string> {
  return JSON.parse(readFileSync(new URL(name, folder), "utf8"));
}

export function realCollateral(name: string): Collateral {
  return parseCollateral(readFileSync(new URL(name, folder), "utf8"));
}

export interface RealCase {
  readonly evidence: Evidence;
  readonly vmConfig: string;
  readonly collateral: Collateral;
  readonly now: Date;
}

/** A GetQuote response: quote, log and VM configuration apart. */
export function quoteReport(): RealCase {
  const capture = realJson("dstack-quote-report.json");
  const evidence = evidenceFromQuote(fromHex(capture["quote"] ?? "", "quote"), capture["event_log"] ?? "");
  return {
    evidence,
    vmConfig: capture["vm_config"] ?? "",
    collateral: realCollateral("collateral-90c06f-2026-06.json"),
    now: new Date("2026-06-15T00:00:00Z"),
  };
}

/** A V0 envelope of a lite guest with everything inside. */
export function liteAttestation(): RealCase {
  const evidence = decodeEvidence(fromHex(realJson("dstack-tdx-lite-attestation.json")["attestation"] ?? "", "attestation"));
  return { ...quoteReport(), evidence, vmConfig: "" };
}

export function verifyReal({ evidence, collateral, now }: RealCase): VerifiedEvidence {
  return verifyEvidenceWith(bindEvidence(evidence, evidence.stack.reportData), collateral, intelSgxRootCa, now);
}
