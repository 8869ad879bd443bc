/** What the QEMU version decides about a launch: the order in which pages are added and measured. */
import { KmsError } from "../../errors.ts";
import type { VmConfig } from "./vm-config.ts";

const DEFAULT_VERSION = "9.1.0";

/** Two passes: all pages of a section are added before any is measured. The switch, despite its name, selects that. */
export function isTwoPass(config: Pick<VmConfig, "qemuVersion" | "qemuSinglePassAddPages">): boolean {
  const major = majorOf(config.qemuVersion ?? DEFAULT_VERSION);
  return config.qemuSinglePassAddPages ?? major === 8;
}

function majorOf(version: string): number {
  const match = /^(\d{1,5})\.(\d{1,5})\.(\d{1,5})$/.exec(version);
  if (match === null) throw new KmsError("malformed.vm-config", "qemu_version: need three decimal numbers joined by dots");
  const major = Number(match[1]);
  if (major < 8) throw new KmsError("unproven.os-image", `qemu_version: need at least 8.0.0, have major version ${major}`);
  return major;
}
