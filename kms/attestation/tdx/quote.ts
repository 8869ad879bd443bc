/** The DCAP quote of versions 3, 4 and 5: from bytes to named fields, nothing verified yet. */
import { ByteReader, concat } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { type Certification, parseCertification } from "./certification.ts";
import {
  type EnclaveReport,
  parseEnclaveReport,
  parseTdReport10,
  parseTdReport15,
  type TdReport10,
  type TdReport15,
} from "./report.ts";

/** Real quotes have up to 8,000 bytes; a PCK chain of eight certificates still fits many times. */
export const MAX_QUOTE_BYTES = 128 * 1024;

export const TEE_TYPE_SGX = 0x00;
export const TEE_TYPE_TDX = 0x81;

export type QuoteVersion = 3 | 4 | 5;
export type QuoteBody = EnclaveReport | TdReport10 | TdReport15;

/** What the quoting enclave says about the attestation key, and what certifies the quoting enclave. */
export interface QeCertification {
  readonly report: EnclaveReport;
  /** The 384 bytes under `signature`. */
  readonly reportBytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly authData: Uint8Array;
  readonly certification: Certification;
}

export interface Quote {
  readonly version: QuoteVersion;
  readonly attestationKeyType: number;
  readonly teeType: number;
  readonly qeVendorId: Uint8Array;
  /** The first 16 bytes are the QE id of the platform. */
  readonly userData: Uint8Array;
  readonly body: QuoteBody;
  /** Header, v5 body descriptor and body: what the attestation key signed, a slice of the input. */
  readonly signedPart: Uint8Array;
  /** Raw r‖s. */
  readonly signature: Uint8Array;
  /** Raw x‖y. */
  readonly attestationKey: Uint8Array;
  readonly qe: QeCertification;
  /** Bytes after the auth data; on real machines the zero rest of a buffer. */
  readonly trailing: Uint8Array;
  /** Surplus at the end of the auth data and of the QE block; empty on every machine seen. */
  readonly authPadding: Uint8Array;
}

interface Header {
  readonly version: QuoteVersion;
  readonly attestationKeyType: number;
  readonly teeType: number;
  readonly qeVendorId: Uint8Array;
  readonly userData: Uint8Array;
}

export function parseQuote(bytes: Uint8Array): Quote {
  if (bytes.length > MAX_QUOTE_BYTES) throw refuse(`at most ${MAX_QUOTE_BYTES} bytes, have ${bytes.length}`);
  const reader = new ByteReader(bytes, "malformed.quote");
  const header = readHeader(reader);
  const body = readBody(reader, header);
  const signedPart = bytes.subarray(0, reader.offset);
  const authData = new ByteReader(takeSized(reader, "auth data"), "malformed.quote");
  const trailing = reader.rest();
  return { ...header, body, signedPart, ...readAuthData(authData, header.version), trailing };
}

function readHeader(reader: ByteReader): Header {
  const version = reader.u16("header.version");
  if (version !== 3 && version !== 4 && version !== 5) throw refuse(`header.version: need 3, 4 or 5, have ${version}`);
  const attestationKeyType = reader.u16("header.attestationKeyType");
  const teeType = reader.u32("header.teeType");
  reader.take(4, "header.qeAndPceSvn");
  const qeVendorId = reader.take(16, "header.qeVendorId");
  const userData = reader.take(20, "header.userData");
  return { version, attestationKeyType, teeType, qeVendorId, userData };
}

function readBody(reader: ByteReader, { version, teeType }: Header): QuoteBody {
  if (version === 5) return readDescribedBody(reader);
  if (teeType === TEE_TYPE_SGX) return parseEnclaveReport(reader);
  if (teeType === TEE_TYPE_TDX && version === 4) return parseTdReport10(reader);
  throw refuse(`header.teeType: ${teeType} is unknown in version ${version}`);
}

/** Version 5 names its body. The reference leaves the size unread; it is signed, so no genuine quote has a wrong one. */
function readDescribedBody(reader: ByteReader): QuoteBody {
  const type = reader.u16("body.type");
  const size = reader.u32("body.size");
  const start = reader.offset;
  const body = readBodyOfType(reader, type);
  if (reader.offset - start !== size) throw refuse(`body.size: need ${reader.offset - start}, have ${size}`);
  return body;
}

function readBodyOfType(reader: ByteReader, type: number): QuoteBody {
  if (type === 1) return parseEnclaveReport(reader);
  if (type === 2) return parseTdReport10(reader);
  if (type === 3) return parseTdReport15(reader);
  throw refuse(`body.type: need 1, 2 or 3, have ${type}`);
}

function readAuthData(
  reader: ByteReader,
  version: QuoteVersion,
): Pick<Quote, "signature" | "attestationKey" | "qe" | "authPadding"> {
  const signature = reader.take(64, "auth.signature");
  const attestationKey = reader.take(64, "auth.attestationKey");
  const block = version === 3 ? reader : nestedBlock(reader);
  const qe = readQeCertification(block);
  const inner = block.rest();
  return { signature, attestationKey, qe, authPadding: concat(inner, reader.rest()) };
}

/** The outer certification type is 6 in practice; nothing signs it and, like the reference, nothing here depends on it. */
function nestedBlock(reader: ByteReader): ByteReader {
  reader.u16("auth.certificationType");
  return new ByteReader(takeSized(reader, "auth.certificationData"), "malformed.quote");
}

function readQeCertification(reader: ByteReader): QeCertification {
  const reportBytes = reader.take(384, "qe.report");
  const report = parseEnclaveReport(new ByteReader(reportBytes, "malformed.quote"));
  const signature = reader.take(64, "qe.signature");
  const authData = reader.take(reader.u16("qe.authLength"), "qe.authData");
  const certificationType = reader.u16("qe.certificationType");
  const certification = parseCertification(certificationType, takeSized(reader, "qe.certificationData"));
  return { report, reportBytes, signature, authData, certification };
}

/** A field with its length in front: never longer than what is left, so the limit of the quote is the limit of every field. */
function takeSized(reader: ByteReader, field: string): Uint8Array {
  return reader.take(reader.u32(`${field} size`), field);
}

function refuse(detail: string): KmsError {
  return new KmsError("malformed.quote", `Failed to decode quote: ${detail}`);
}
