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

/** A longer configuration is appraised each time: it would be held as long as the evidence is. */
const MAX_REMEMBERED_CONFIG = 16 * 1024;

/** The last appraisal of evidence that is kept for its certificate. Neither can change, so the outcome cannot. */
const last = new WeakMap<VerifiedEvidence, AppraisalOptions & { readonly boot: AppraisedBoot }>();

export function appraiseBoot(evidence: VerifiedEvidence, options: AppraisalOptions): AppraisedBoot {
  const { vmConfig, mode } = options;
  const known = last.get(evidence);
  if (known?.vmConfig === vmConfig && known.mode === mode) return known.boot;
  const boot = appraise(evidence, options);
  if (vmConfig.length <= MAX_REMEMBERED_CONFIG) last.set(evidence, { vmConfig, mode, boot });
  return boot;
}

function appraise(evidence: VerifiedEvidence, options: AppraisalOptions): AppraisedBoot {
  const vmConfig = parseVmConfig(chooseVmConfig(options.vmConfig, evidence.evidence.stack.config));
  const info = tdxBootInfo(evidence, vmConfig.osImageHash, options.mode);
  return new Appraised(info, evidence, vmConfig);
}
