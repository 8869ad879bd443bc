/** The simulated machines before anything is wrong with them: TDX quotes of versions 4 and 5 and an SGX quote of version 3. */
import { toHex } from "../../../kms/bytes.ts";
import {
  cpuSvn,
  digest,
  fmspc,
  isoSecond,
  type Members,
  now,
  parties,
  pceSvn,
  type QuoteDraft,
  set,
  sgxParts,
  teeTcbSvn,
  type World,
} from "./world.ts";

const zeros = (length: number): Uint8Array => new Uint8Array(length);
const join = (...parts: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
const day = 86_400;

export const qeSigner = digest("sha256", "corpus qe signer");
export const components = (svns: Iterable<number>): Members[] => [...svns].map((svn) => ({ svn }));

export interface Level {
  readonly tcb: Members;
  readonly tcbDate: string;
  readonly tcbStatus: string;
  readonly advisoryIDs?: readonly string[];
}

/** The TDX components start below what the module has: their first two are judged through its identity as well. */
const tdxComponents = Uint8Array.from(teeTcbSvn);
const older = (svns: Uint8Array) => svns.map((svn) => (svn > 1 ? svn - 1 : svn));

export function platformLevel(changes: Members = {}, tcb: Members = {}): Level {
  return {
    tcb: { sgxtcbcomponents: components(cpuSvn), pcesvn: pceSvn, tdxtcbcomponents: components(tdxComponents), ...tcb },
    tcbDate: "2025-05-14T00:00:00Z",
    tcbStatus: "UpToDate",
    ...changes,
  };
}

export function olderLevel(): Level {
  const tcb = {
    sgxtcbcomponents: components(older(cpuSvn)),
    pcesvn: pceSvn - 1,
    tdxtcbcomponents: components(older(tdxComponents)),
  };
  return platformLevel({ tcbDate: "2023-08-09T00:00:00Z", tcbStatus: "OutOfDate", advisoryIDs: ["CORPUS-SA-00001"] }, tcb);
}

export const svnLevel = (isvsvn: number, tcbStatus = "UpToDate", advisoryIDs?: readonly string[]): Level => ({
  tcb: { isvsvn },
  tcbDate: "2025-05-14T00:00:00Z",
  tcbStatus,
  ...(advisoryIDs === undefined ? {} : { advisoryIDs }),
});

export function moduleIdentity(changes: Members = {}): Members {
  return {
    id: "TDX_01",
    mrsigner: "00".repeat(48),
    attributes: "00".repeat(8),
    attributesMask: "ff".repeat(8),
    tcbLevels: [svnLevel(7), svnLevel(5, "OutOfDate", ["CORPUS-SA-00002"])],
    ...changes,
  };
}

function tcbInfo(isSgx: boolean): Members {
  const { id: _, tcbLevels: __, ...module } = moduleIdentity();
  const levels = [platformLevel(), olderLevel()];
  return {
    id: isSgx ? "SGX" : "TDX",
    version: 3,
    issueDate: isoSecond(-day),
    nextUpdate: isoSecond(30 * day),
    fmspc: toHex(fmspc).toUpperCase(),
    pceId: "0000",
    tcbType: 0,
    tcbEvaluationDataNumber: 17,
    ...(isSgx ? {} : { tdxModule: module, tdxModuleIdentities: [moduleIdentity()] }),
    tcbLevels: levels.map(({ tcb: { tdxtcbcomponents, ...sgx }, ...level }) => ({
      ...level,
      tcb: isSgx ? sgx : { ...sgx, tdxtcbcomponents },
    })),
  };
}

function qeIdentity(isSgx: boolean): Members {
  return {
    id: isSgx ? "QE" : "TD_QE",
    version: 2,
    issueDate: isoSecond(-day),
    nextUpdate: isoSecond(30 * day),
    tcbEvaluationDataNumber: 17,
    miscselect: "00000000",
    miscselectMask: "FFFFFFFF",
    attributes: "11000000000000000000000000000000",
    attributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
    mrsigner: toHex(qeSigner).toUpperCase(),
    isvprodid: 2,
    tcbLevels: [svnLevel(6), svnLevel(4, "OutOfDate", ["CORPUS-SA-00003"])],
  };
}

export function enclaveReport(): Uint8Array {
  const attributes = Uint8Array.of(0x15, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0);
  const identity = join(digest("sha256", "corpus qe enclave"), zeros(32), qeSigner, zeros(96));
  return join(cpuSvn, zeros(32), attributes, identity, Uint8Array.of(2, 0, 6, 0), zeros(60), zeros(64));
}

/** Offsets in a TD report. */
export const td = {
  teeTcbSvn: 0,
  mrSeam: 16,
  mrSignerSeam: 64,
  seamAttributes: 112,
  tdAttributes: 120,
  xfam: 128,
  mrTd: 136,
  mrConfigId: 184,
  mrOwner: 232,
  mrOwnerConfig: 280,
  rtmr0: 328,
  rtmr1: 376,
  rtmr2: 424,
  rtmr3: 472,
  reportData: 520,
  teeTcbSvn2: 584,
  mrServiceTd: 600,
} as const;

export function tdReport(isTd15: boolean): Uint8Array {
  const measured = (name: string) => digest("sha384", `corpus ${name}`);
  const seam = join(teeTcbSvn, measured("mr-seam"), zeros(48), zeros(8));
  const attributes = join(Uint8Array.of(0, 0, 0, 0x10, 0, 0, 0, 0), Uint8Array.of(0xe7, 2, 6, 0, 0, 0, 0, 0));
  const owner = join(measured("mr-config-id"), zeros(96));
  const registers = join(measured("rtmr0"), measured("rtmr1"), measured("rtmr2"), zeros(48));
  const report = join(seam, attributes, measured("mr-td"), owner, registers, digest("sha512", "corpus report data"));
  return isTd15 ? join(report, teeTcbSvn, zeros(48)) : report;
}

function quoteDraft(kind: World["kind"]): QuoteDraft {
  const isV5 = kind === "v5" || kind === "v5-td10";
  const version = kind === "sgx" ? 3 : isV5 ? 5 : 4;
  const vendor = Buffer.from("939a7233f79c4ca9940a0db3957f0607", "hex");
  const header = join(Uint8Array.of(version, 0, 2, 0, kind === "sgx" ? 0 : 0x81, 0, 0, 0), zeros(4), vendor, zeros(20));
  const body = kind === "sgx" ? set(enclaveReport(), 320, ...digest("sha512", "corpus report data")) : tdReport(kind === "v5");
  return {
    header,
    descriptor: isV5 ? Uint8Array.of(kind === "v5" ? 3 : 2, 0, body.length & 0xff, body.length >> 8, 0, 0) : zeros(0),
    body,
    qeReport: enclaveReport(),
    authData: Uint8Array.from({ length: 32 }, (_, index) => index),
    attestationKey: parties.attestation,
    outerType: 6,
    innerType: 5,
    pckChainEnd: "\0",
    qeSigner: parties.pck,
    signer: parties.attestation,
    trailing: zeros(70),
    authPadding: zeros(0),
    blockPadding: zeros(0),
  };
}

export function freshWorld(kind: World["kind"]): World {
  const isSgx = kind === "sgx";
  return {
    kind,
    certificates: { root: {}, pckCa: {}, pck: {}, tcb: {} },
    sgx: sgxParts(),
    lists: { root: {}, pck: {} },
    pckChain: ({ pck, pckCa, root }) => [pck, pckCa, root],
    tcbChain: ({ tcb, root }) => [tcb, root],
    qeChain: ({ tcb, root }) => [tcb, root],
    tcbInfo: tcbInfo(isSgx),
    qeIdentity: qeIdentity(isSgx),
    tcbInfoText: (json) => json,
    qeIdentityText: (json) => json,
    tcbSigner: parties.tcb,
    qeSigner: parties.tcb,
    quote: quoteDraft(kind),
    time: now.toISOString().replace(".000", ""),
  };
}
