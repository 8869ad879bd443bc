/** The file a bootstrapped KMS leaves behind: root public keys and the evidence that binds them, in every form that was ever written. */
import { createPublicKey } from "node:crypto";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { z } from "zod";
import { decodeEvidence, type Evidence, evidenceFromQuote } from "../../kms/attestation/evidence.ts";
import { fromHex, fromUtf8, needLength } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";

const caSpkiBytes = 91;
const k256Bytes = 33;
/** An envelope of the largest size in hex, and room for the rest. */
export const maxFileBytes = 21 * 1024 * 1024;

export interface BootstrapInfo {
  readonly caSpki: Uint8Array;
  readonly k256Pubkey: Uint8Array;
  readonly evidence: Evidence;
}

const text = z.string().optional();
const fileSchema = z.object({
  ca_pubkey: text,
  caPubkey: text,
  k256_pubkey: text,
  k256Pubkey: text,
  attestation: text,
  quote: text,
  eventlog: text,
});

type File = z.output<typeof fileSchema>;

export function parseBootstrapInfo(bytes: Uint8Array): BootstrapInfo {
  const file = readFile(bytes);
  const caSpki = needLength(hexOf("ca_pubkey", oneOf(file, "ca_pubkey", "caPubkey")), caSpkiBytes, "ca_pubkey");
  const k256Pubkey = needLength(hexOf("k256_pubkey", oneOf(file, "k256_pubkey", "k256Pubkey")), k256Bytes, "k256_pubkey");
  needP256(caSpki);
  needSecp256k1(k256Pubkey);
  return { caSpki, k256Pubkey, evidence: evidenceOf(file) };
}

function readFile(bytes: Uint8Array): File {
  if (bytes.length > maxFileBytes) {
    throw new KmsError("malformed.file", `bootstrap information: need at most ${maxFileBytes} bytes, have ${bytes.length}`);
  }
  try {
    return fileSchema.parse(JSON.parse(fromUtf8(bytes, "bootstrap information", "malformed.file")));
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw new KmsError("malformed.file", "bootstrap information: need a JSON object with hex members", { cause });
  }
}

/** Two spellings of one member could say two things. */
function oneOf(file: File, snake: "ca_pubkey" | "k256_pubkey", camel: "caPubkey" | "k256Pubkey"): string {
  const [first, second] = [file[snake], file[camel]];
  if (first !== undefined && second !== undefined) throw new KmsError("malformed.file", `${snake} and ${camel} are both there`);
  const value = first ?? second;
  if (value === undefined) throw new KmsError("malformed.file", `${snake} is missing`);
  return value;
}

/** Files before 2026 carry quote and event log apart; the reference reads them back with an empty attestation. */
function evidenceOf({ attestation = "", quote = "", eventlog = "" }: File): Evidence {
  if (attestation !== "" && quote !== "") throw new KmsError("malformed.file", "attestation and quote are both there");
  if (attestation !== "") return decodeEvidence(hexOf("attestation", attestation));
  if (quote === "" || eventlog === "")
    throw new KmsError("unproven.registration", "there is no evidence: need attestation, or quote and eventlog");
  return evidenceFromQuote(hexOf("quote", quote), fromUtf8(hexOf("eventlog", eventlog), "eventlog", "malformed.event-log"));
}

function hexOf(name: string, value: string): Uint8Array {
  return fromHex(value.startsWith("0x") ? value.slice(2) : value, name);
}

function needP256(spki: Uint8Array): void {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    if (key.asymmetricKeyDetails?.namedCurve === "prime256v1") return;
  } catch (cause) {
    throw new KmsError("malformed.key", "ca_pubkey: not a public key", { cause });
  }
  throw new KmsError("malformed.key", "ca_pubkey: need a P-256 key");
}

function needSecp256k1(pubkey: Uint8Array): void {
  try {
    secp256k1.Point.fromBytes(pubkey);
  } catch (cause) {
    throw new KmsError("malformed.key", "k256_pubkey: not a point of secp256k1", { cause });
  }
}
