/** What the QEMU version decides about a launch: the order in which pages are added and measured, and the interrupt controller. */
import { KmsError } from "../../errors.ts";
import type { VmConfig } from "./vm-config.ts";

const DEFAULT_VERSION = "9.1.0";

export interface EffectiveQemu {
  readonly version: string;
  readonly pic: boolean;
  readonly twoPass: boolean;
}

/** The configuration's word, or the default of its version. The switch selects two passes, despite its name. */
export function effectiveQemu(config: Pick<VmConfig, "qemuVersion" | "qemuSinglePassAddPages" | "pic">): EffectiveQemu {
  const version = config.qemuVersion ?? DEFAULT_VERSION;
  const isEight = majorOf(version) === 8;
  return { version, pic: config.pic ?? isEight, twoPass: config.qemuSinglePassAddPages ?? isEight };
}

/** Two passes: all pages of a section are added before any is measured. */
export function isTwoPass(config: Pick<VmConfig, "qemuVersion" | "qemuSinglePassAddPages">): boolean {
  return effectiveQemu(config).twoPass;
}

function majorOf(version: string): number {
  const match = /^(\d{1,5})\.(\d{1,5})\.(\d{1,5})$/.exec(version);
  if (match === null) throw new KmsError("malformed.vm-config", "qemu_version: need three decimal numbers joined by dots");
  const major = Number(match[1]);
  if (major < 8) throw new KmsError("unproven.os-image", `qemu_version: need at least 8.0.0, have major version ${major}`);
  return major;
}
