/** The OS image check: the quoted launch registers must be those of the image whose hash the policy allowed. */
import { KmsError } from "../../errors.ts";
import type { AppraisedBoot } from "../appraise.ts";
import { checkLiteImage } from "./lite.ts";

/** Boots that passed: neither the registers nor the configuration of a boot can change. */
const passed = new WeakSet<AppraisedBoot>();

export function measureOsImage(boot: AppraisedBoot): void {
  if (passed.has(boot)) return;
  const { evidence, vmConfig } = boot;
  if (vmConfig.tdxAttestationVariant === "legacy") {
    throw new KmsError(
      "unproven.os-image-legacy",
      "legacy OS image verification is not available in this release: use tdx_attestation_variant lite",
    );
  }
  checkLiteImage(evidence.quote.quote.body, evidence.evidence.platform.eventLog, vmConfig);
  passed.add(boot);
}
