/** Matching a platform and its TDX module against the levels of the TCB info. */
import { equal } from "../../bytes.ts";
import { type Code, KmsError } from "../../errors.ts";
import type { PlatformIdentity } from "./pck.ts";
import type { TdReport10, TdReport15 } from "./report.ts";
import type { TcbInfo, TcbLevel, TdxModuleExpectation } from "./tcb-info.ts";
import type { Tcb } from "./tcb-status.ts";

const COMPONENTS = 16;

export type TdReport = TdReport10 | TdReport15;

/** The identity that judged a TDX module. */
export interface TdxModuleTcb extends Tcb {
  readonly id: string;
}

/** The first level, from the highest down, that the platform reaches in every component; the JSON order does not count. */
export function matchTcbLevel(info: TcbInfo, platform: PlatformIdentity, td: TdReport | undefined): TcbLevel {
  const sorted = info.tcbLevels.toSorted((a, b) => compareLevels(a, b, td !== undefined));
  const level = sorted.find((candidate) => reaches(platform, td, candidate));
  if (level === undefined) throw refuse("unproven.tcb-level", "No matching TCB level found");
  return level;
}

function compareLevels({ tcb: a }: TcbLevel, { tcb: b }: TcbLevel, isTdx: boolean): number {
  const sgx = compareDescending(a.sgxtcbcomponents, b.sgxtcbcomponents);
  if (sgx !== 0) return sgx;
  if (a.pcesvn !== b.pcesvn) return b.pcesvn - a.pcesvn;
  return isTdx ? compareDescending(a.tdxtcbcomponents, b.tdxtcbcomponents) : 0;
}

function compareDescending(a: readonly number[], b: readonly number[]): number {
  const index = a.findIndex((svn, position) => svn !== b[position]);
  if (index < 0) return b.length - a.length;
  return (b[index] ?? -1) - (a[index] ?? -1);
}

function reaches(platform: PlatformIdentity, td: TdReport | undefined, { tcb }: TcbLevel): boolean {
  if (platform.pceSvn < tcb.pcesvn) return false;
  if (!covers(platform.cpuSvn, tcb.sgxtcbcomponents, "SGX")) return false;
  // all sixteen, as the reference does; Intel's rule skips the first two when the module has an identity of its own
  return td === undefined || covers(td.teeTcbSvn, tcb.tdxtcbcomponents, "TDX");
}

function covers(svns: Uint8Array, required: readonly number[], kind: "SGX" | "TDX"): boolean {
  if (required.length !== COMPONENTS) {
    const detail = `${kind} component count mismatch, expected ${COMPONENTS}, got ${required.length}`;
    throw refuse("unproven.tcb-level", detail);
  }
  return required.every((svn, index) => (svns[index] ?? -1) >= svn);
}

/** Signer and attributes of the TDX module, and its own level when the TCB info lists identities. */
export function matchTdxModule(info: TcbInfo, td: TdReport): TdxModuleTcb | undefined {
  const { tdxModule, tdxModuleIdentities } = info;
  if (tdxModule === undefined) throw refuse("unproven.tdx-module", "TDX module is missing in the TCB info");
  const [isvSvn = 0, version = 0] = td.teeTcbSvn;
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
  return { id, status: level.tcbStatus, advisoryIds: level.advisoryIDs };
}

function requireModule({ mrSignerSeam, seamAttributes }: TdReport, expected: TdxModuleExpectation): void {
  if (!equal(mrSignerSeam, expected.mrsigner)) throw refuse("unproven.tdx-module", "TDX module MRSIGNER mismatch");
  seamAttributes.forEach((actual, index) => {
    const mask = expected.attributesMask[index] ?? 0;
    // bits outside the mask are nobody's to set: stricter than Intel's verifier, as the reference is
    if ((actual & mask) !== ((expected.attributes[index] ?? 0) & mask) || (actual & ~mask) !== 0) {
      throw refuse("unproven.tdx-module", "TDX module attributes mismatch");
    }
  });
}

function refuse(code: Code, detail: string): KmsError {
  return new KmsError(code, detail);
}
