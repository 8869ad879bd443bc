/** The OS image check: the quoted launch registers must be those of the image whose hash the policy allowed. */
import { KmsError } from "../../errors.ts";
import type { AppraisedBoot } from "../appraise.ts";
import { checkLiteImage } from "./lite.ts";

export function measureOsImage(boot: AppraisedBoot): void {
  const { evidence, vmConfig } = boot;
  if (vmConfig.tdxAttestationVariant === "legacy") {
    throw new KmsError(
      "unproven.os-image-legacy",
      "legacy OS image verification is not available in this release: use tdx_attestation_variant lite",
    );
  }
  checkLiteImage(evidence.quote.quote.body, evidence.evidence.platform.eventLog, vmConfig);
}
