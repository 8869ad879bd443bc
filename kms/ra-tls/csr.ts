/** Certificate requests of apps: SCALE, not PKCS#10, in two versions; decoded strictly, then verified against the key they name. */
import { decodeEvidence, type Evidence, evidenceFromQuote } from "../attestation/evidence.ts";
import { ScaleReader } from "../attestation/scale.ts";
import { isSignedDer, keyFromSpki } from "../attestation/tdx/p256.ts";
import { fromUtf8 } from "../bytes.ts";
import { inContext, KmsError } from "../errors.ts";

declare const verified: unique symbol;

export type CsrVersion = 1 | 2;

/** What the request wants written into its certificate. */
export interface CsrConfig {
  readonly organization: string | undefined;
  readonly subject: string;
  /** DNS names and IP addresses, as text. */
  readonly altNames: readonly string[];
  readonly serverAuth: boolean;
  readonly clientAuth: boolean;
  /** Whether the certificate carries the reduced evidence. */
  readonly withEvidence: boolean;
  readonly withAppInfo: boolean;
  readonly notBefore: Date | undefined;
  readonly notAfter: Date | undefined;
}

/** A decoded request: nothing in it is proved. */
export interface Csr {
  readonly confirm: string;
  /** SubjectPublicKeyInfo as it stands in the request. */
  readonly spki: Uint8Array;
  readonly config: CsrConfig;
  /** Version 1 has the quote and its log apart; they are read once the signature is known to be good. */
  readonly evidence: () => Evidence;
  /** What the signature covers, a slice of the input. */
  readonly signed: Uint8Array;
}

/** The holder of the private key to `spki` asked for this; the evidence has yet to be bound to that key and verified. */
export interface VerifiedCsr {
  readonly [verified]: true;
  readonly spki: Uint8Array;
  readonly config: CsrConfig;
  readonly evidence: Evidence;
}

/** The colon belongs to it. Whoever signs other things with the key cannot be led to sign a request. */
const CONFIRM = "please sign cert:";
const CODE = "malformed.csr";

export const MAX_ALT_NAMES = 100;
/** The longest DNS name. */
export const MAX_ALT_NAME_CHARACTERS = 253;
export const MAX_NAME_CHARACTERS = 1024;
/** 9999-12-31T23:59:59Z, the last second that a certificate can name. */
export const MAX_TIME_SECONDS = 253_402_300_799n;

export function decodeCsr(version: CsrVersion, bytes: Uint8Array): Csr {
  try {
    return version === 1 ? decodeVersion1(bytes) : decodeVersion2(bytes);
  } catch (thrown) {
    throw inContext("Failed to parse csr", thrown);
  }
}

/** Bytes behind the request are ignored by the protocol, and the signature does not cover them. */
function decodeVersion1(bytes: Uint8Array): Csr {
  const reader = new ScaleReader(bytes, CODE);
  const head = { confirm: reader.text("confirm"), spki: reader.bytes("pubkey") };
  const config = { ...readConfig(reader), withAppInfo: false, notBefore: undefined, notAfter: undefined };
  const [quote, eventLog] = [reader.bytes("quote"), reader.bytes("event_log")];
  const ignored = reader.rest();
  const evidence = () => evidenceFromQuote(quote, fromUtf8(eventLog, "event log", "malformed.event-log"));
  return { ...head, config, evidence, signed: bytes.subarray(0, bytes.length - ignored.length) };
}

/** The envelope has no length of its own: it is the rest of the input, all of it. */
function decodeVersion2(bytes: Uint8Array): Csr {
  const reader = new ScaleReader(bytes, CODE);
  const head = { confirm: reader.text("confirm"), spki: reader.bytes("pubkey") };
  const config = readConfig(reader);
  const withAppInfo = reader.bool("ext_app_info");
  const notBefore = reader.option("not_before", () => readTime(reader, "not_before"));
  const notAfter = reader.option("not_after", () => readTime(reader, "not_after"));
  const evidence = decodeEvidence(reader.rest());
  return { ...head, config: { ...config, withAppInfo, notBefore, notAfter }, evidence: () => evidence, signed: bytes };
}

/** The six fields that both versions share. */
function readConfig(reader: ScaleReader): Omit<CsrConfig, "withAppInfo" | "notBefore" | "notAfter"> {
  return {
    organization: reader.option("org_name", () => readName(reader, "org_name")),
    subject: readName(reader, "subject"),
    altNames: reader.vec("subject_alt_names", MAX_ALT_NAMES, (field) => readAltName(reader, field)),
    serverAuth: reader.bool("usage_server_auth"),
    clientAuth: reader.bool("usage_client_auth"),
    withEvidence: reader.bool("ext_quote"),
  };
}

function readName(reader: ScaleReader, field: string): string {
  const name = reader.text(field);
  if (name.length > MAX_NAME_CHARACTERS) {
    throw new KmsError(CODE, `${field}: need at most ${MAX_NAME_CHARACTERS} characters, have ${name.length}`);
  }
  if (/\p{Cc}/u.test(name)) throw new KmsError(CODE, `${field}: has a control character`);
  return name;
}

/** Visible ASCII alone: a NUL or a space in a DNS name reads as different names to different clients. */
function readAltName(reader: ScaleReader, field: string): string {
  const name = reader.text(field);
  if (name.length === 0 || name.length > MAX_ALT_NAME_CHARACTERS) {
    throw new KmsError(CODE, `${field}: need 1 to ${MAX_ALT_NAME_CHARACTERS} characters, have ${name.length}`);
  }
  if (!/^[!-~]+$/.test(name)) throw new KmsError(CODE, `${field}: need visible ASCII characters`);
  return name;
}

/** Seconds since 1970. A later time ends the process of other implementations. */
function readTime(reader: ScaleReader, field: string): Date {
  const seconds = reader.u64(field);
  if (seconds > MAX_TIME_SECONDS) {
    throw new KmsError(CODE, `${field}: need at most ${MAX_TIME_SECONDS} seconds, the year 9999, have ${seconds}`);
  }
  return new Date(Number(seconds) * 1000);
}

/**
 * The signature is checked over the received bytes. The reference checks a re-encoding, which for the one spelling that the decoder
 * accepts is the same.
 */
export function verifyCsr(csr: Csr, signature: Uint8Array): VerifiedCsr {
  try {
    needSignature(csr, signature);
    if (csr.confirm !== CONFIRM) throw new KmsError("unproven.csr-signature", "Invalid confirm word");
  } catch (thrown) {
    throw inContext("Failed to verify csr signature", thrown);
  }
  return { spki: csr.spki, config: csr.config, evidence: upgradedEvidence(csr) } as VerifiedCsr;
}

function needSignature({ spki, signed }: Csr, signature: Uint8Array): void {
  const key = parseKey(spki);
  let isSigned = false;
  try {
    isSigned = isSignedDer(signed, signature, key);
  } catch (cause) {
    throw new KmsError("unproven.csr-signature", "Invalid signature", { cause });
  }
  if (!isSigned) throw new KmsError("unproven.csr-signature", "Invalid signature");
}

function parseKey(spki: Uint8Array) {
  try {
    return keyFromSpki(spki, "malformed.key");
  } catch (cause) {
    throw new KmsError("malformed.key", "Unsupported algorithm", { cause });
  }
}

function upgradedEvidence(csr: Csr): Evidence {
  try {
    return csr.evidence();
  } catch (thrown) {
    throw inContext("Failed to upgrade csr v1 to v2", thrown);
  }
}
