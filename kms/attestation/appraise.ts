/** Appraisal: from verified evidence and the chosen VM configuration to the boot that the policy owner is asked about. */
import { type BootInfo, tdxBootInfo } from "./boot-info.ts";
import type { BootMode } from "./events.ts";
import { chooseVmConfig, parseVmConfig, type VmConfig } from "./image/vm-config.ts";
import type { VerifiedEvidence } from "./verifier.ts";

declare const appraised: unique symbol;

export interface AppraisedBoot {
  readonly [appraised]: true;
  readonly info: BootInfo;
  readonly evidence: VerifiedEvidence;
  readonly vmConfig: VmConfig;
}

export interface AppraisalOptions {
  /** The request's own VM configuration; empty means the one inside the evidence. */
  readonly vmConfig: string;
  readonly mode: BootMode;
}

export function appraiseBoot(evidence: VerifiedEvidence, options: AppraisalOptions): AppraisedBoot {
  const vmConfig = parseVmConfig(chooseVmConfig(options.vmConfig, evidence.evidence.stack.config));
  const info = tdxBootInfo(evidence, vmConfig.osImageHash, options.mode);
  return { info, evidence, vmConfig } as AppraisedBoot;
}
