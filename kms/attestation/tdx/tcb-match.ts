/** The judgement of the TCB info on a platform and its TDX module. */
import { equal } from "../../bytes.ts";
import { type Code, KmsError } from "../../errors.ts";
import type { PlatformIdentity } from "./pck.ts";
import type { TdReport10, TdReport15 } from "./report.ts";
import { COMPONENTS, type TcbInfo, type TcbLevel, type TdxModuleExpectation } from "./tcb-info.ts";
import { type Tcb, tcbOf } from "./tcb-status.ts";

export type TdReport = TdReport10 | TdReport15;

/** The identity that judged a TDX module. */
export interface TdxModuleTcb extends Tcb {
  readonly id: string;
}

/** The first level, from the highest down, that the platform reaches in every component; `teeTcbSvn` is missing for SGX. */
export function matchTcbLevel(info: TcbInfo, { cpuSvn, pceSvn }: PlatformIdentity, teeTcbSvn?: Uint8Array): TcbLevel {
  const level = info.tcbLevels.find(({ tcb }) => {
    if (pceSvn < tcb.pcesvn || !covers(cpuSvn, tcb.sgxtcbcomponents, "SGX")) return false;
    // all sixteen, as the reference does; Intel's rule skips the first two when the module has an identity of its own
    return teeTcbSvn === undefined || covers(teeTcbSvn, tcb.tdxtcbcomponents, "TDX");
  });
  if (level === undefined) throw refuse("unproven.tcb-level", "No matching TCB level found");
  return level;
}

function covers(svns: Uint8Array, required: readonly number[], kind: "SGX" | "TDX"): boolean {
  if (required.length !== COMPONENTS) {
    const detail = `${kind} component count mismatch, expected ${COMPONENTS}, got ${required.length}`;
    throw refuse("unproven.tcb-level", detail);
  }
  return required.every((svn, index) => (svns[index] ?? -1) >= svn);
}

/** Signer and attributes of the TDX module, and its own level when the TCB info lists identities; the SVNs are of the module as it was loaded or is now. */
export function matchTdxModule(info: TcbInfo, td: TdReport, teeTcbSvn: Uint8Array): TdxModuleTcb | undefined {
  const { tdxModule, tdxModuleIdentities } = info;
  if (tdxModule === undefined) throw refuse("unproven.tdx-module", "TDX module is missing in the TCB info");
  const [isvSvn = 0, version = 0] = teeTcbSvn;
  if (version === 0 || tdxModuleIdentities.length === 0) {
    requireModule(td, tdxModule);
    return undefined;
  }
  const id = `TDX_${version.toString(16).toUpperCase().padStart(2, "0")}`;
  const identity = tdxModuleIdentities.find((candidate) => candidate.id.toUpperCase() === id);
  if (identity === undefined) throw refuse("unproven.tdx-module", `TDX module identity ${id} is not in the TCB info`);
  requireModule(td, identity);
  const level = identity.tcbLevels.find(({ tcb }) => tcb.isvsvn <= isvSvn);
  if (level === undefined) throw refuse("unproven.tdx-module", `TDX module ISVSVN ${isvSvn} matches no level of ${id}`);
  return { id, ...tcbOf(level) };
}

function requireModule({ mrSignerSeam, seamAttributes }: TdReport, expected: TdxModuleExpectation): void {
  if (!equal(mrSignerSeam, expected.mrsigner)) throw refuse("unproven.tdx-module", "TDX module MRSIGNER mismatch");
  // bits outside the mask are nobody's to set: stricter than Intel's verifier, as the reference is
  const fits = seamAttributes.every(
    (actual, index) => actual === masked(expected.attributes[index], expected.attributesMask[index]),
  );
  if (!fits) throw refuse("unproven.tdx-module", "TDX module attributes mismatch");
}

function masked(expected = 0, mask = 0): number {
  return expected & mask;
}

function refuse(code: Code, detail: string): KmsError {
  return new KmsError(code, detail);
}
