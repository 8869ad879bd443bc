/** Builds the TDX quotes of the simulated platform, byte for byte as a real quoting enclave lays them out (tdx-attestation 1). */
import { createHash, randomBytes } from "node:crypto";
import { p256 } from "@noble/curves/nist.js";
import { concat, needLength, utf8 } from "../../kms/bytes.ts";

/** The measured state of one TD at the moment it asks for a quote. */
export interface TdReport {
  readonly mrTd: Uint8Array;
  readonly mrConfigId: Uint8Array;
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  readonly reportData: Uint8Array;
}

export interface QuoteKnobs {
  readonly version?: 4 | 5;
  readonly tdAttributes?: Uint8Array;
  readonly teeTcbSvn?: Uint8Array;
  readonly mrSignerSeam?: Uint8Array;
  /** TD 1.5 only. */
  readonly mrServiceTd?: Uint8Array;
  readonly qeReportData?: Uint8Array;
  /** Names the machine by its encrypted PPID instead of its chain: 2 under a key of 2,048 bits, 3 under one of 3,072. */
  readonly certificationType?: 2 | 3;
}

/** What is the same in all quotes of one platform. */
export interface QuotingEnclave {
  readonly qeId: Uint8Array;
  readonly cpuSvn: Uint8Array;
  readonly teeTcbSvn: Uint8Array;
  readonly mrSeam: Uint8Array;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly attributes: Uint8Array;
  readonly prodId: number;
  readonly svn: number;
  /** Leaf, Platform CA, root. */
  readonly pckChainPem: string;
  readonly signReport: (report: Uint8Array) => Uint8Array;
  readonly pceSvn: number;
  readonly pceId: Uint8Array;
  readonly encryptedPpid: (bytes: 256 | 384) => Uint8Array;
}

const qeVendorId = Uint8Array.from(Buffer.from("939a7233f79c4ca9940a0db3957f0607", "hex"));
const septVeDisable = Uint8Array.of(0, 0, 0, 0x10, 0, 0, 0, 0);
const xfam = Uint8Array.of(0xe7, 0x02, 0x06, 0, 0, 0, 0, 0);
const qeAuthData = Uint8Array.from({ length: 32 }, (_, index) => index);
const trailingZeros = 70; // real buffers are sized for v5
const zeros = (length: number): Uint8Array => new Uint8Array(length);

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function buildQuote(enclave: QuotingEnclave, report: TdReport, knobs: QuoteKnobs = {}): Uint8Array {
  const version = knobs.version ?? 4;
  const body = tdReportBody(enclave, report, knobs);
  const descriptor = version === 5 ? concat(u16(3), u32(body.length)) : zeros(0);
  const signedPart = concat(header(enclave, version), descriptor, body);
  const attestationKey = new Uint8Array(randomBytes(48));
  const { secretKey } = p256.keygen(attestationKey); // a fresh one for each quote
  const point = p256.getPublicKey(secretKey, false).subarray(1);
  const qeReport = quotingEnclaveReport(enclave, knobs.qeReportData ?? keyHash(point));
  const qeBlock = concat(
    qeReport,
    enclave.signReport(qeReport),
    u16(qeAuthData.length),
    qeAuthData,
    ...certification(enclave, knobs.certificationType),
  );
  const auth = concat(p256.sign(signedPart, secretKey), point, u16(6), u32(qeBlock.length), qeBlock);
  return concat(signedPart, u32(auth.length), auth, zeros(trailingZeros));
}

function certification(enclave: QuotingEnclave, type: 2 | 3 | undefined): Uint8Array[] {
  const pem = utf8(`${enclave.pckChainPem}\0`);
  if (type === undefined) return [u16(5), u32(pem.length), pem]; // PEM chain
  const { cpuSvn, pceSvn, pceId } = enclave;
  const data = concat(enclave.encryptedPpid(type === 2 ? 256 : 384), cpuSvn, u16(pceSvn), pceId);
  return [u16(type), u32(data.length), data];
}

function header(enclave: QuotingEnclave, version: number): Uint8Array {
  const ecdsaP256 = 2;
  const tdx = 0x81;
  const userData = concat(needLength(enclave.qeId, 16, "QE id"), zeros(4));
  return concat(u16(version), u16(ecdsaP256), u32(tdx), zeros(4), qeVendorId, userData);
}

function tdReportBody(enclave: QuotingEnclave, report: TdReport, knobs: QuoteKnobs): Uint8Array {
  const teeTcbSvn = knobs.teeTcbSvn ?? enclave.teeTcbSvn;
  const body = concat(
    teeTcbSvn,
    enclave.mrSeam,
    knobs.mrSignerSeam ?? zeros(48),
    zeros(8), // seam_attributes
    knobs.tdAttributes ?? septVeDisable,
    xfam,
    report.mrTd,
    report.mrConfigId,
    zeros(48), // mr_owner
    zeros(48), // mr_owner_config
    ...report.rtmrs,
    report.reportData,
  );
  needLength(body, 584, "TD report");
  return knobs.version === 5 ? concat(body, teeTcbSvn, knobs.mrServiceTd ?? zeros(48)) : body;
}

function keyHash(point: Uint8Array): Uint8Array {
  return concat(new Uint8Array(createHash("sha256").update(point).update(qeAuthData).digest()), zeros(32));
}

function quotingEnclaveReport(enclave: QuotingEnclave, reportData: Uint8Array): Uint8Array {
  const report = concat(
    enclave.cpuSvn,
    zeros(4), // MISCSELECT
    zeros(28),
    enclave.attributes,
    enclave.mrEnclave,
    zeros(32),
    enclave.mrSigner,
    zeros(96),
    u16(enclave.prodId),
    u16(enclave.svn),
    zeros(60),
    reportData,
  );
  return needLength(report, 384, "QE report");
}
