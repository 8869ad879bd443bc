/** The OS image check: the quoted launch registers must be those of the image whose hash the policy allowed. */
import { toHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import type { AppraisedBoot } from "../appraise.ts";
import type { LegacyCheck } from "./legacy.ts";
import { checkLiteImage } from "./lite.ts";

/** At once where no disk is asked. */
export type OsImageCheck = (boot: AppraisedBoot) => void | Promise<void>;

export function createOsImageCheck(checkLegacy: LegacyCheck): OsImageCheck {
  /** Boots that passed: neither the registers nor the configuration of a boot can change. */
  const passed = new WeakSet<AppraisedBoot>();
  return (boot) => {
    if (passed.has(boot)) return;
    const { evidence, info, vmConfig } = boot;
    if (info.teeVariant !== "dstack-tdx") {
      throw new KmsError("unproven.platform-unsupported", `OS images of ${info.teeVariant} cannot be verified by this release`);
    }
    const report = evidence.quote.quote.body;
    if (vmConfig.tdxAttestationVariant === "legacy") {
      return checkLegacy(report, vmConfig, toHex(info.appId)).then(() => void passed.add(boot));
    }
    checkLiteImage(report, evidence.evidence.platform.eventLog, vmConfig);
    passed.add(boot);
  };
}
