/** TCB info v3 and QE identity of the simulated platform: compact JSON, signed as the exact text that is served. */
import { toHex } from "../../kms/bytes.ts";

export interface TcbKnobs {
  /** Status of the level that the platform matches. */
  readonly tcbStatus?: string;
  readonly advisoryIds?: readonly string[];
  readonly qeStatus?: string;
  readonly moduleStatus?: string;
  /** Another platform family than the PCK certificate's. */
  readonly fmspcInTcbInfo?: string;
  /** Levels above what the platform has, so that none matches. */
  readonly raiseLevels?: boolean;
  /** Of TCB info and QE identity. */
  readonly evaluationNumber?: number;
}

export interface TcbFacts {
  readonly fmspc: Uint8Array;
  readonly pceId: Uint8Array;
  readonly pceSvn: number;
  readonly cpuSvn: Uint8Array;
  readonly teeTcbSvn: Uint8Array;
  readonly qe: { readonly mrSigner: Uint8Array; readonly attributes: Uint8Array; readonly prodId: number; readonly svn: number };
}

/** The debug bit is left to the verifier's own rule; XFRM is free. */
const qeAttributesMask = Uint8Array.of(0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0);

export interface TcbWindow {
  readonly issueDate: Date;
  readonly nextUpdate: Date;
}

const evaluationNumber = 17;
const zeroSigner = "00".repeat(48); // Intel-signed modules carry no signer
const isoSeconds = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`;

function components(svns: Uint8Array): { svn: number }[] {
  return [...svns].map((svn) => ({ svn }));
}

export function tcbInfoText(facts: TcbFacts, window: TcbWindow, knobs: TcbKnobs): string {
  const current = facts.teeTcbSvn.slice();
  current[1] = Math.min(current[1] ?? 0, 1);
  const level = (
    sgx: Uint8Array,
    tdx: Uint8Array,
    pcesvn: number,
    date: string,
    status: string,
    advisories: readonly string[],
  ) => ({
    tcb: { sgxtcbcomponents: components(sgx), pcesvn, tdxtcbcomponents: components(tdx) },
    tcbDate: date,
    tcbStatus: status,
    ...(advisories.length === 0 ? {} : { advisoryIDs: advisories }),
  });
  const old = (svns: Uint8Array) => svns.map((svn) => (svn > 1 ? svn - 1 : svn));
  const pceSvn = knobs.raiseLevels === true ? facts.pceSvn + 1 : facts.pceSvn;
  const top = level(
    facts.cpuSvn,
    current,
    pceSvn,
    "2025-05-14T00:00:00Z",
    knobs.tcbStatus ?? "UpToDate",
    knobs.advisoryIds ?? [],
  );
  const stale = level(old(facts.cpuSvn), old(current), facts.pceSvn - 1, "2023-08-09T00:00:00Z", "OutOfDate", ["SIM-SA-00001"]);
  return JSON.stringify({
    id: "TDX",
    version: 3,
    issueDate: isoSeconds(window.issueDate),
    nextUpdate: isoSeconds(window.nextUpdate),
    fmspc: knobs.fmspcInTcbInfo ?? toHex(facts.fmspc).toUpperCase(),
    pceId: toHex(facts.pceId),
    tcbType: 0,
    tcbEvaluationDataNumber: knobs.evaluationNumber ?? evaluationNumber,
    tdxModule: { mrsigner: zeroSigner, attributes: "00".repeat(8), attributesMask: "ff".repeat(8) },
    tdxModuleIdentities: [moduleIdentity(facts.teeTcbSvn, knobs.moduleStatus ?? "UpToDate")],
    tcbLevels: knobs.raiseLevels === true ? [top] : [top, stale],
  });
}

function moduleIdentity(teeTcbSvn: Uint8Array, status: string): object {
  const version = toHex(teeTcbSvn.subarray(1, 2)).toUpperCase();
  return {
    id: `TDX_${version}`,
    mrsigner: zeroSigner,
    attributes: "00".repeat(8),
    attributesMask: "ff".repeat(8),
    tcbLevels: [{ tcb: { isvsvn: teeTcbSvn[0] }, tcbDate: "2025-05-14T00:00:00Z", tcbStatus: status }],
  };
}

export function qeIdentityText(facts: TcbFacts, window: TcbWindow, knobs: TcbKnobs): string {
  return JSON.stringify({
    id: "TD_QE",
    version: 2,
    issueDate: isoSeconds(window.issueDate),
    nextUpdate: isoSeconds(window.nextUpdate),
    tcbEvaluationDataNumber: knobs.evaluationNumber ?? evaluationNumber,
    miscselect: "00000000",
    miscselectMask: "FFFFFFFF",
    attributes: toHex(facts.qe.attributes.map((byte, index) => byte & (qeAttributesMask[index] ?? 0))).toUpperCase(),
    attributesMask: toHex(qeAttributesMask).toUpperCase(),
    mrsigner: toHex(facts.qe.mrSigner).toUpperCase(),
    isvprodid: facts.qe.prodId,
    tcbLevels: [{ tcb: { isvsvn: facts.qe.svn }, tcbDate: "2025-05-14T00:00:00Z", tcbStatus: knobs.qeStatus ?? "UpToDate" }],
  });
}
