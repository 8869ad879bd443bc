/** What `evidence verify` reads: a quote, an envelope, a certificate or a JSON capture, in bytes, hex, base64, PEM or JSON, told apart by content. */
import { decodeEvidence, type Evidence, evidenceFromQuote } from "../kms/attestation/evidence.ts";
import { cutMembers } from "../kms/attestation/tdx/json-text.ts";
import { derFromPem } from "../kms/attestation/tdx/pem.ts";
import { fromHex, fromUtf8, utf8 } from "../kms/bytes.ts";
import { KmsError } from "../kms/errors.ts";
import { type CertificateEvidence, readCertificate } from "../kms/ra-tls/extensions.ts";

/** Ten MiB of envelope as a JSON array of numbers, with room for white space. */
export const MAX_INPUT_BYTES = 64 * 1024 * 1024;

/** No quote and no envelope begins with it. */
const derSequence = 0x30;
/** Some editors write it before a text. */
const byteOrderMark = [0xef, 0xbb, 0xbf];
const MAX_WRAPPINGS = 4;
/** The header of a quote: what is shorter is a word and no evidence. */
const minBase64Bytes = 48;

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
  const bytes = bytesOfText(text, "evidence file");
  if (bytes !== undefined) return fromBytes(bytes);
  throw refuse("neither bytes of a quote, envelope or certificate, nor hex, nor base64, nor PEM, nor JSON");
}

/** Hex, with or without 0x, or base64 of either alphabet; either may be broken into lines. What could be both is hex. */
function bytesOfText(text: string, what: string): Uint8Array | undefined {
  const compact = text.replace(/\s+/g, "");
  const digits = compact.replace(/^0x/i, "");
  if (/^[0-9a-fA-F]+$/.test(digits)) return fromHex(digits, what, undefined, "malformed.file");
  const base64 = compact
    .replaceAll("-", "+")
    .replaceAll("_", "/")
    .replace(/={1,2}$/, "");
  const bytes = Buffer.from(base64, "base64");
  const isExact = bytes.length >= minBase64Bytes && bytes.toString("base64").replace(/=+$/, "") === base64;
  return isExact ? new Uint8Array(bytes) : undefined;
}

/** Text only if every byte is printable ASCII or white space: a quote never is. JSON may have more in its strings. */
function asText(whole: Uint8Array): string | undefined {
  const file = byteOrderMark.every((byte, at) => whole[at] === byte) ? whole.subarray(byteOrderMark.length) : whole;
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
  if (text.startsWith("{")) return fromCapture(unwrapped(membersOf(text, "evidence file")));
  const value = jsonValue(text);
  if (Array.isArray(value)) return fromBytes(byteArray(value));
  throw refuse("need a JSON object or an array");
}

/** An object that holds nothing but another one, as enumerations and answers of services are written. */
function unwrapped(capture: ReadonlyMap<string, string>, level = 0): ReadonlyMap<string, string> {
  const [only, ...others] = capture.values();
  if (level === MAX_WRAPPINGS || others.length > 0 || only?.startsWith("{") !== true) return capture;
  return unwrapped(membersOf(only, "evidence file"), level + 1);
}

/** As they stand in the text, so that a log in place is read by the reader of logs, as one in a string is. */
function membersOf(text: string, what: string): ReadonlyMap<string, string> {
  try {
    return cutMembers(text, what);
  } catch (cause) {
    throw new KmsError("malformed.file", cause instanceof KmsError ? cause.message : `${what}: not JSON`, { cause });
  }
}

function jsonValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KmsError("malformed.file", `evidence file: not JSON, ${text.length} characters`, { cause });
  }
}

function byteArray(values: readonly unknown[]): Uint8Array {
  const isByte = (value: unknown): value is number =>
    typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 256;
  if (!values.every(isByte)) throw refuse("the JSON array has members that are not byte values");
  return Uint8Array.from(values);
}

/** A response of a guest agent, or a file that someone made of one. */
function fromCapture(capture: ReadonlyMap<string, string>): EvidenceInput {
  const vmConfig = embeddedText(capture, "vm_config") ?? "";
  const attestation = bytesMember(capture, "attestation");
  if (attestation !== undefined) return { kind: "evidence", evidence: decodeEvidence(attestation), vmConfig };
  const quote = bytesMember(capture, "quote");
  if (quote === undefined) throw refuse("the JSON object has neither a quote nor an attestation member");
  const eventLog = eventLogOf(capture);
  if (eventLog === undefined) return { kind: "quote", quote };
  return { kind: "evidence", evidence: evidenceFromQuote(quote, eventLog), vmConfig };
}

/** Guest agents have it beside the quote, or inside what they call tcb_info. */
function eventLogOf(capture: ReadonlyMap<string, string>): string | undefined {
  const beside = embeddedText(capture, "event_log");
  const tcbInfo = beside === undefined ? embeddedText(capture, "tcb_info") : undefined;
  return tcbInfo?.trim().startsWith("{") ? embeddedText(membersOf(tcbInfo, "tcb_info"), "event_log") : beside;
}

/** Events in a file of their own: the log itself, or a document that has it. */
export function readEventLog(text: string): string {
  const trimmed = text.trim();
  if (!trimmed.startsWith("{")) return trimmed;
  const eventLog = eventLogOf(membersOf(trimmed, "event log"));
  if (eventLog === undefined) throw new KmsError("malformed.file", "event log: the JSON object has no event_log member");
  return eventLog;
}

function bytesMember(capture: ReadonlyMap<string, string>, name: string): Uint8Array | undefined {
  const value = memberValue(capture, name);
  if (value === undefined) return undefined;
  if (Array.isArray(value)) return byteArray(value);
  const bytes = typeof value === "string" ? bytesOfText(value, name) : undefined;
  if (bytes === undefined) throw refuse(`${name}: need hex, base64 or an array of byte values`);
  return bytes;
}

/** Captures hold JSON documents as text or in place. */
function embeddedText(capture: ReadonlyMap<string, string>, name: string): string | undefined {
  const value = memberValue(capture, name);
  return value === undefined || typeof value === "string" ? value : capture.get(name);
}

function memberValue(capture: ReadonlyMap<string, string>, name: string): unknown {
  const text = capture.get(name);
  const value = text === undefined ? undefined : jsonValue(text);
  return value === null || value === "" ? undefined : value;
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.file", `evidence file: ${message}`);
}
