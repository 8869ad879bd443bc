/** What `evidence verify` reads: a quote, an envelope, a certificate or a JSON capture, in bytes, hex, PEM or JSON, told apart by content. */
import { decodeEvidence, type Evidence, evidenceFromQuote } from "../kms/attestation/evidence.ts";
import { derFromPem } from "../kms/attestation/tdx/pem.ts";
import { fromHex, fromUtf8, utf8 } from "../kms/bytes.ts";
import { KmsError } from "../kms/errors.ts";
import { type CertificateEvidence, readCertificate } from "../kms/ra-tls/extensions.ts";

/** Ten MiB of envelope as a JSON array of numbers, with room for white space. */
export const MAX_INPUT_BYTES = 64 * 1024 * 1024;

/** No quote and no envelope begins with it. */
const derSequence = 0x30;

/** A bare quote has no event log, so only the quote itself can be judged. */
export type EvidenceInput =
  | { readonly kind: "quote"; readonly quote: Uint8Array }
  | {
      readonly kind: "evidence";
      readonly evidence: Evidence;
      readonly vmConfig: string;
      /** The leaf that carried it, to whose key it has to be bound. */
      readonly certificate?: CertificateEvidence;
    };

export function readEvidenceInput(file: Uint8Array): EvidenceInput {
  if (file.length === 0) throw refuse("empty");
  if (file.length > MAX_INPUT_BYTES) throw refuse(`need at most ${MAX_INPUT_BYTES} bytes, have ${file.length}`);
  const text = asText(file);
  if (text === undefined) return fromBytes(file);
  if (text.startsWith("{") || text.startsWith("[")) return fromJson(text);
  const pem = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(text)?.[0];
  if (pem !== undefined) return fromCertificate(derFromPem(utf8(`${pem}\n`)));
  const digits = text.replace(/^0x/i, "");
  if (/^[0-9a-fA-F]+$/.test(digits)) return fromBytes(fromHex(digits, "evidence file", undefined, "malformed.file"));
  throw refuse("neither bytes of a quote, envelope or certificate, nor hex, nor PEM, nor JSON");
}

/** Text only if every byte is printable ASCII or white space: a quote never is. JSON may have more in its strings. */
function asText(file: Uint8Array): string | undefined {
  const first = file.find((byte) => byte > 0x20);
  const mayBeJson = first === 0x7b || first === 0x5b;
  if (!mayBeJson && !file.every((byte) => (byte >= 0x20 && byte < 0x7f) || (byte >= 0x09 && byte <= 0x0d))) return undefined;
  return fromUtf8(file, "evidence file", "malformed.file").trim();
}

function fromBytes(bytes: Uint8Array): EvidenceInput {
  const first = bytes[0];
  const isQuote = first !== undefined && first >= 3 && first <= 5 && bytes[1] === 0;
  if (isQuote) return { kind: "quote", quote: bytes };
  if (first === derSequence) return fromCertificate(bytes);
  return { kind: "evidence", evidence: decodeEvidence(bytes), vmConfig: "" };
}

/** Of a chain the first one, which TLS puts the leaf to. */
function fromCertificate(der: Uint8Array): EvidenceInput {
  const certificate = readCertificate(der);
  if (certificate.evidence === undefined) throw new KmsError("unproven.no-evidence", "the certificate carries no evidence");
  return { kind: "evidence", evidence: certificate.evidence, vmConfig: "", certificate };
}

function fromJson(text: string): EvidenceInput {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new KmsError("malformed.file", `evidence file: not JSON, ${text.length} characters`, { cause });
  }
  if (Array.isArray(value)) return fromBytes(byteArray(value));
  return fromCapture(new Map(Object.entries(value as object)));
}

function byteArray(values: readonly unknown[]): Uint8Array {
  const isByte = (value: unknown): value is number =>
    typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 256;
  if (!values.every(isByte)) throw refuse("the JSON array has members that are not byte values");
  return Uint8Array.from(values);
}

/** A response of a guest agent, or a file that someone made of one. */
function fromCapture(capture: ReadonlyMap<string, unknown>): EvidenceInput {
  const vmConfig = embeddedText(capture, "vm_config") ?? "";
  const attestation = hexMember(capture, "attestation");
  if (attestation !== undefined) return { kind: "evidence", evidence: decodeEvidence(attestation), vmConfig };
  const quote = hexMember(capture, "quote");
  if (quote === undefined) throw refuse("the JSON object has neither a quote nor an attestation member");
  const eventLog = embeddedText(capture, "event_log");
  if (eventLog === undefined) return { kind: "quote", quote };
  return { kind: "evidence", evidence: evidenceFromQuote(quote, eventLog), vmConfig };
}

function hexMember(capture: ReadonlyMap<string, unknown>, name: string): Uint8Array | undefined {
  const value = capture.get(name);
  if (value === undefined || value === null || value === "") return undefined;
  if (Array.isArray(value)) return byteArray(value);
  if (typeof value !== "string") throw refuse(`${name}: need hex`);
  return fromHex(value.trim().replace(/^0x/i, ""), name, undefined, "malformed.file");
}

/** Captures hold JSON documents as text or in place. */
function embeddedText(capture: ReadonlyMap<string, unknown>, name: string): string | undefined {
  const value = capture.get(name);
  if (value === undefined || value === null || value === "") return undefined;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.file", `evidence file: ${message}`);
}
