/** Appraisal: from verified evidence and the chosen VM configuration to the boot that the policy owner is asked about. */
import { type BootInfo, tdxBootInfo } from "./boot-info.ts";
import type { BootMode } from "./events.ts";
import { chooseVmConfig, parseVmConfig, type VmConfig } from "./image/vm-config.ts";
import type { VerifiedEvidence } from "./verifier.ts";

/** A class, and not exported: only this file makes one, and a copy made by spreading is none. */
class Appraised {
  declare protected readonly brand: true;
  readonly info: BootInfo;
  readonly evidence: VerifiedEvidence;
  readonly vmConfig: VmConfig;

  constructor(info: BootInfo, evidence: VerifiedEvidence, vmConfig: VmConfig) {
    this.info = info;
    this.evidence = evidence;
    this.vmConfig = vmConfig;
  }
}

export type AppraisedBoot = Appraised;

export interface AppraisalOptions {
  /** The request's own VM configuration; empty means the one inside the evidence. */
  readonly vmConfig: string;
  readonly mode: BootMode;
}

export function appraiseBoot(evidence: VerifiedEvidence, options: AppraisalOptions): AppraisedBoot {
  const vmConfig = parseVmConfig(chooseVmConfig(options.vmConfig, evidence.evidence.stack.config));
  const info = tdxBootInfo(evidence, vmConfig.osImageHash, options.mode);
  return new Appraised(info, evidence, vmConfig);
}
