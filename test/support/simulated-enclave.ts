/** The local key provider of the simulated machine: SGX quotes of version 3 and the SGX collateral that belongs to them, with one thing wrong on demand. */
import { createHash, randomBytes } from "node:crypto";
import { p256 } from "@noble/curves/nist.js";
import { concat, toHex, utf8 } from "../../kms/bytes.ts";
import { pem } from "../../scripts/devnet/der.ts";
import { createPki, type PkiKnobs } from "../../scripts/devnet/pki.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { u16, u32 } from "../../scripts/devnet/quote.ts";
import { platformSeed } from "./simulated-td.ts";

export interface EnclaveKnobs extends PkiKnobs {
  /** Another machine than that of the simulated TDs. */
  readonly seed?: Uint8Array;
  readonly qeId?: Uint8Array;
  readonly ppid?: Uint8Array;
  readonly attributes?: Uint8Array;
  readonly tcbStatus?: string;
}

export interface SimulatedEnclave {
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly quote: (reportData: Uint8Array) => Uint8Array;
  /** JSON, as files hold it. */
  readonly collateral: (now: Date) => string;
  /** What the provider answers: a key sealed to nobody, and the quote that is bound to it. */
  readonly respond: (encryptedKey?: Uint8Array) => { readonly encryptedKey: Uint8Array; readonly providerQuote: Uint8Array };
}

const dayMs = 24 * 60 * 60 * 1000;
const fmspc = Uint8Array.of(0x51, 0xa0, 0x6f, 0, 0, 0);
const cpuSvn = Uint8Array.of(3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0);
const pceId = Uint8Array.of(0, 0);
const pceSvn = 13;
const qeVendorId = Uint8Array.from(Buffer.from("939a7233f79c4ca9940a0db3957f0607", "hex"));
const qeAuthData = new Uint8Array(32).fill(7);
const plainAttributes = concat(Uint8Array.of(0x05), new Uint8Array(7), Uint8Array.of(0xe7), new Uint8Array(7));
const hashOf = (...parts: (string | Uint8Array)[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

export function startEnclave(knobs: EnclaveKnobs = {}): SimulatedEnclave {
  const seed = knobs.seed ?? platformSeed;
  const ppid = knobs.ppid ?? hashOf(seed, "ppid").subarray(0, 16);
  const qeId = knobs.qeId ?? hashOf(seed, "qe-id").subarray(0, 16);
  const pki = createPki(seed, { ppid, cpuSvn, pceSvn, pceId, fmspc }, knobs);
  const [mrEnclave, mrSigner, qeSigner] = [hashOf("key provider"), hashOf("provider signer"), hashOf("sgx qe signer")];
  const pckPem = utf8(`${[pki.pck, pki.pckCa, pki.root].map((der) => pem("CERTIFICATE", der)).join("")}\0`);
  const quote = (reportData: Uint8Array) => {
    const header = concat(u16(3), u16(2), u32(0), new Uint8Array(4), qeVendorId, qeId, new Uint8Array(4));
    const attributes = knobs.attributes ?? plainAttributes;
    const signedPart = concat(header, report({ mrEnclave, mrSigner, attributes, prodId: 1, svn: 3, reportData }));
    const { secretKey } = p256.keygen(new Uint8Array(randomBytes(48)));
    const point = p256.getPublicKey(secretKey, false).subarray(1);
    const qeReportData = concat(hashOf(point, qeAuthData), new Uint8Array(32));
    const qe = { mrEnclave: hashOf("sgx qe"), mrSigner: qeSigner, attributes: plainAttributes, prodId: 1, svn: 8 };
    const qeReport = report({ ...qe, reportData: qeReportData });
    const certification = concat(u16(qeAuthData.length), qeAuthData, u16(5), u32(pckPem.length), pckPem);
    const auth = concat(p256.sign(signedPart, secretKey), point, qeReport, pki.sign("pck", qeReport), certification);
    return concat(signedPart, u32(auth.length), auth);
  };
  return {
    mrEnclave,
    mrSigner,
    quote,
    collateral: (now) => sgxCollateral(pki, qeSigner, now, knobs.tcbStatus ?? "UpToDate"),
    respond: (encryptedKey = new Uint8Array(80).fill(9)) => ({
      encryptedKey,
      providerQuote: quote(concat(hashOf(encryptedKey), new Uint8Array(32))),
    }),
  };
}

interface EnclaveFacts {
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly attributes: Uint8Array;
  readonly prodId: number;
  readonly svn: number;
  readonly reportData: Uint8Array;
}

function report({ mrEnclave, mrSigner, attributes, prodId, svn, reportData }: EnclaveFacts): Uint8Array {
  const zeros = (length: number) => new Uint8Array(length);
  const start = concat(cpuSvn, zeros(32), attributes, mrEnclave, zeros(32), mrSigner, zeros(96), u16(prodId), u16(svn));
  return concat(start, zeros(60), reportData);
}

function sgxCollateral(pki: ReturnType<typeof createPki>, qeSigner: Uint8Array, now: Date, tcbStatus: string): string {
  const [issued, ends] = [new Date(now.getTime() - dayMs), new Date(now.getTime() + 30 * dayMs)];
  const seconds = (date: Date) => `${date.toISOString().slice(0, 19)}Z`;
  const window = { issueDate: seconds(issued), nextUpdate: seconds(ends), tcbEvaluationDataNumber: 17 };
  const tcbDate = "2025-05-14T00:00:00Z";
  const tcb = { sgxtcbcomponents: [...cpuSvn].map((svn) => ({ svn })), pcesvn: pceSvn };
  const tcbInfo = JSON.stringify({
    id: "SGX",
    version: 3,
    ...window,
    fmspc: toHex(fmspc).toUpperCase(),
    pceId: toHex(pceId),
    tcbType: 0,
    tcbLevels: [{ tcb, tcbDate, tcbStatus, advisoryIDs: tcbStatus === "UpToDate" ? [] : ["SIM-SA-00002"] }],
  });
  const qeIdentity = JSON.stringify({
    id: "QE",
    version: 2,
    ...window,
    miscselect: "00000000",
    miscselectMask: "FFFFFFFF",
    attributes: `05${"00".repeat(15)}`,
    attributesMask: `FB${"FF".repeat(7)}${"00".repeat(8)}`,
    mrsigner: toHex(qeSigner).toUpperCase(),
    isvprodid: 1,
    tcbLevels: [{ tcb: { isvsvn: 8 }, tcbDate, tcbStatus: "UpToDate" }],
  });
  const crls = pki.crls(issued, ends);
  const rootPem = pem("CERTIFICATE", pki.root);
  return collateralJson({
    rootCaCrl: crls.root,
    pckCrl: crls.pck,
    pckCrlIssuerChain: pem("CERTIFICATE", pki.pckCa) + rootPem,
    tcbInfo,
    tcbInfoSignature: pki.sign("tcb", utf8(tcbInfo)),
    qeIdentity,
    qeIdentitySignature: pki.sign("tcb", utf8(qeIdentity)),
    tcbSigningChain: pem("CERTIFICATE", pki.tcbSigning) + rootPem,
  });
}
