/** One simulated TDX machine: the hierarchy, its quoting enclave, and the collateral that belongs to them. Knobs break one thing each, for tests. */
import { createHash } from "node:crypto";
import { concat, needLength, toHex, utf8 } from "../../kms/bytes.ts";
import { pem } from "./der.ts";
import { createPki, type PkiKnobs } from "./pki.ts";
import { buildQuote, type QuoteKnobs, type QuotingEnclave, type TdReport } from "./quote.ts";
import { qeIdentityText, type TcbFacts, type TcbKnobs, tcbInfoText } from "./tcb.ts";

export interface PlatformKnobs extends PkiKnobs, TcbKnobs {
  /** The moment the collateral is issued for, in place of the caller's. */
  readonly collateralTime?: Date;
  /** Another machine under the same root. */
  readonly ppid?: Uint8Array;
}

/** Everything a PCCS serves for this machine. */
export interface SimulatedCollateral {
  readonly rootCaCrl: Uint8Array;
  readonly pckCrl: Uint8Array;
  readonly pckCrlIssuerChain: string;
  readonly tcbInfo: string;
  readonly tcbInfoSignature: Uint8Array;
  readonly qeIdentity: string;
  readonly qeIdentitySignature: Uint8Array;
  readonly tcbSigningChain: string;
}

/** What a PCCS serves to those who name the machine as its quotes of types 2 and 3 do. */
export interface SimulatedPckCertificate {
  readonly qeId: Uint8Array;
  readonly encryptedPpids: readonly Uint8Array[];
  readonly leafPem: string;
  readonly issuerChain: string;
  /** CPUSVN, and PCESVN little endian. */
  readonly tcbm: Uint8Array;
}

export interface SimulatedPlatform {
  /** What a verifier needs as its trust anchor to accept this machine. */
  readonly rootDer: Uint8Array;
  readonly rootPem: string;
  readonly fmspc: Uint8Array;
  readonly ppid: Uint8Array;
  readonly pckCertificate: SimulatedPckCertificate;
  readonly quote: (report: TdReport, knobs?: QuoteKnobs) => Uint8Array;
  readonly collateral: (now: Date) => SimulatedCollateral;
}

const dayMs = 24 * 60 * 60 * 1000;
const fmspc = Uint8Array.of(0x51, 0xa0, 0x6f, 0, 0, 0);
const pceId = Uint8Array.of(0, 0);
const pceSvn = 13;
const cpuSvn = Uint8Array.of(3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0);
const teeTcbSvn = Uint8Array.of(7, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

export function createPlatform(seed: Uint8Array, knobs: PlatformKnobs = {}): SimulatedPlatform {
  needLength(seed, 32, "platform seed");
  const digest = (hash: string, label: string) => new Uint8Array(createHash(hash).update(seed).update(label).digest());
  const ppid = knobs.ppid ?? digest("sha256", "ppid").subarray(0, 16);
  const pki = createPki(seed, { ppid, cpuSvn, pceSvn, pceId, fmspc }, knobs);
  const certificatePem = (der: Uint8Array) => pem("CERTIFICATE", der);
  const rootPem = certificatePem(pki.root);
  const enclave: QuotingEnclave = {
    qeId: digest("sha256", "qe-id").subarray(0, 16),
    cpuSvn,
    teeTcbSvn,
    mrSeam: digest("sha384", "mr-seam"),
    mrEnclave: digest("sha256", "qe-enclave"),
    mrSigner: digest("sha256", "qe-signer"),
    attributes: concat(Uint8Array.of(0x15, 0, 0, 0, 0, 0, 0, 0), Uint8Array.of(0xe7, 0, 0, 0, 0, 0, 0, 0)),
    prodId: 2,
    svn: 6,
    pckChainPem: certificatePem(pki.pck) + certificatePem(pki.pckCa) + rootPem,
    signReport: (report) => pki.sign("pck", report),
    pceSvn,
    pceId,
    // which key it is encrypted under, only Intel could tell
    encryptedPpid: (bytes) =>
      concat(...Array.from({ length: bytes / 32 }, (_, index) => digest("sha256", `ppid ${bytes} ${index}`))),
  };
  const facts: TcbFacts = { fmspc, pceId, pceSvn, cpuSvn, teeTcbSvn, qe: enclave };
  return {
    rootDer: pki.root,
    rootPem,
    fmspc,
    ppid,
    pckCertificate: {
      qeId: enclave.qeId,
      encryptedPpids: [enclave.encryptedPpid(256), enclave.encryptedPpid(384)],
      leafPem: certificatePem(pki.pck),
      issuerChain: certificatePem(pki.pckCa) + rootPem,
      tcbm: concat(cpuSvn, Uint8Array.of(pceSvn, 0)),
    },
    quote: (report, quoteKnobs) => buildQuote(enclave, report, quoteKnobs),
    collateral: (now) => {
      const base = knobs.collateralTime ?? now;
      const window = { issueDate: new Date(base.getTime() - dayMs), nextUpdate: new Date(base.getTime() + 30 * dayMs) };
      const crls = pki.crls(window.issueDate, window.nextUpdate);
      const tcbInfo = tcbInfoText(facts, window, knobs);
      const qeIdentity = qeIdentityText(facts, window, knobs);
      return {
        rootCaCrl: crls.root,
        pckCrl: crls.pck,
        pckCrlIssuerChain: certificatePem(pki.pckCa) + rootPem,
        tcbInfo,
        tcbInfoSignature: pki.sign("tcb", utf8(tcbInfo)),
        qeIdentity,
        qeIdentitySignature: pki.sign("tcb", utf8(qeIdentity)),
        tcbSigningChain: certificatePem(pki.tcbSigning) + rootPem,
      };
    },
  };
}

/** The JSON form of collateral (tdx-attestation 2.9), as files and test cases hold it. */
export function collateralJson(collateral: SimulatedCollateral): string {
  return JSON.stringify({
    pck_crl_issuer_chain: collateral.pckCrlIssuerChain,
    root_ca_crl: toHex(collateral.rootCaCrl),
    pck_crl: toHex(collateral.pckCrl),
    tcb_info_issuer_chain: collateral.tcbSigningChain,
    tcb_info: collateral.tcbInfo,
    tcb_info_signature: toHex(collateral.tcbInfoSignature),
    qe_identity_issuer_chain: collateral.tcbSigningChain,
    qe_identity: collateral.qeIdentity,
    qe_identity_signature: toHex(collateral.qeIdentitySignature),
  });
}
