/** The local key provider's answer: an SGX enclave on the guest's own machine, proven by its quote, and the encrypted key whose hash it quotes. */
import { createHash } from "node:crypto";
import { concat, equal, fromHex, fromUtf8, isZero, toHex } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { findEvent, replayEvents } from "./events.ts";
import { parseJsonTree, plainValue } from "./json-tree.ts";
import { requireKeyProvider } from "./key-provider-info.ts";
import { type VerifiedSgxQuote, verifySgxQuote } from "./sgx-quote.ts";
import { MAX_QUOTE_BYTES, parseQuote } from "./tdx/quote.ts";
import type { VerifiedQuote } from "./tdx/verify.ts";
import type { VerificationInputs, VerifiedEvidence, VerifiedTdQuote } from "./verifier.ts";

/** A quote as a JSON array of numbers and a key; the protocol's own limit, 8 MiB, is for any quote there could be. */
export const MAX_RESPONSE_BYTES = 1024 * 1024;
/** A sealed box around 32 bytes: the sender's public key and a tag of 16. */
export const SEALED_KEY_BYTES = 32 + 32 + 16;
const QE_ID_BYTES = 16;

export interface KeyProviderResponse {
  readonly encryptedKey: Uint8Array;
  readonly providerQuote: Uint8Array;
}

/** The JSON of the provider, alone or in its frame; bytes as arrays, or as hex where a host passed them on. */
export function parseKeyProviderResponse(bytes: Uint8Array): KeyProviderResponse {
  if (bytes.length > MAX_RESPONSE_BYTES) throw malformed(`need at most ${MAX_RESPONSE_BYTES} bytes, have ${bytes.length}`);
  const text = fromUtf8(withoutFrame(bytes), "key provider response", "malformed.file");
  const value = plainValue(parseJsonTree(text, "key provider response", "malformed.file"));
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed("need an object");
  const members = new Map(Object.entries(value));
  const encryptedKey = bytesOf(members.get("encrypted_key"), "encrypted_key", SEALED_KEY_BYTES);
  if (encryptedKey.length !== SEALED_KEY_BYTES) {
    throw malformed(`encrypted_key: need ${SEALED_KEY_BYTES} bytes, have ${encryptedKey.length}`);
  }
  return { encryptedKey, providerQuote: bytesOf(members.get("provider_quote"), "provider_quote", MAX_QUOTE_BYTES) };
}

function withoutFrame(bytes: Uint8Array): Uint8Array {
  const isFramed = bytes.length > 4 && Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32BE(0) === bytes.length - 4;
  return isFramed ? bytes.subarray(4) : bytes;
}

function bytesOf(value: unknown, member: string, limit: number): Uint8Array {
  if (typeof value === "string") return fromHex(value, member, undefined, "malformed.file");
  if (!Array.isArray(value)) throw malformed(`${member}: need an array of byte values, or hex`);
  if (value.length > limit) throw malformed(`${member}: need at most ${limit} bytes, have ${value.length}`);
  const isByte = (item: unknown): item is number => Number.isInteger(item) && Number(item) >= 0 && Number(item) <= 0xff;
  if (!value.every(isByte)) throw malformed(`${member}: has members that are no byte values`);
  return Uint8Array.from(value);
}

/** A class, and not exported: only this file makes one, and a copy made by spreading is none. */
class Proof {
  declare protected readonly brand: true;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly provider: VerifiedSgxQuote;
  readonly guest: VerifiedTdQuote;

  constructor(provider: VerifiedSgxQuote, guest: VerifiedTdQuote, { mrEnclave, mrSigner, isvProdId, isvSvn }: EnclaveIdentity) {
    this.mrEnclave = mrEnclave;
    this.mrSigner = mrSigner;
    this.isvProdId = isvProdId;
    this.isvSvn = isvSvn;
    this.provider = provider;
    this.guest = guest;
  }
}

type EnclaveIdentity = Pick<Proof, "mrEnclave" | "mrSigner" | "isvProdId" | "isvSvn">;

/**
 * An enclave of this MRENCLAVE, on the machine of the guest's quote, quoted the hash of this encrypted key. No quote says for whose public key it
 * was encrypted, in answer to which request, or what is in it: only the guest, which opens it, and the code of the enclave do.
 */
export type KeyProviderProof = Proof;

/** The guest's own check of the answer, and what a guest leaves out because it sits on the machine: that both quotes are of one. */
export function proveKeyProvider(
  response: KeyProviderResponse,
  guest: VerifiedTdQuote,
  inputs: VerificationInputs,
): KeyProviderProof {
  requireRequest(guest); // 1
  const provider = verifySgxQuote(parseQuote(response.providerQuote), inputs); // 2: DCAP; no debug enclave passes
  const { body } = provider.quote;
  const binding = concat(sha256(response.encryptedKey), new Uint8Array(32));
  if (!equal(body.reportData, binding)) {
    throw new KmsError("unproven.report-data", "provider quote: report data is not that of the encrypted key"); // 3
  }
  requireSameMachine(provider, guest); // 4
  return new Proof(provider, guest, body);
}

/** A guest asks with its X25519 key and nothing else in the report data. */
function requireRequest({ quote: { body } }: VerifiedTdQuote): void {
  const isRequest = !isZero(body.reportData.subarray(0, 32)) && isZero(body.reportData.subarray(32));
  if (!isRequest) throw new KmsError("unproven.report-data", "guest quote: not made to ask a key provider");
}

/** The quoting enclaves of SGX and TDX have one id per machine; the PCK certificates name the same platform. */
function requireSameMachine(provider: VerifiedQuote, guest: VerifiedTdQuote): void {
  const [ours, theirs] = [guest, provider].map(({ quote }) => quote.userData.subarray(0, QE_ID_BYTES));
  if (ours === undefined || theirs === undefined || !equal(ours, theirs)) throw refuse("the two quotes have different QE ids");
  if (!equal(provider.ppid, guest.ppid)) throw refuse("the two quotes are of different platforms");
}

/**
 * A guest of the same launch on the same machine, at the same point of its boot, recorded the enclave that answered: its own measured code says
 * that it took a key of that enclave. That it took this answer, or is that very run, is not shown: two runs of one image have the same registers.
 */
export function requireSealedBy(proof: KeyProviderProof, { evidence, quote }: VerifiedEvidence): void {
  const { body: asked } = proof.guest.quote;
  const { body } = quote.quote;
  for (const register of ["mrTd", "rtmr0", "rtmr1", "rtmr2", "mrConfigId", "mrOwner", "mrOwnerConfig"] as const) {
    if (!equal(asked[register], body[register])) throw refuse(`evidence and guest quote differ in ${register}`);
  }
  if (!equal(proof.guest.ppid, quote.ppid)) throw refuse("evidence and guest quote are of different platforms");
  const { runtimeEvents } = evidence.stack;
  const atRequest = replayEvents(runtimeEvents, "sha384", "boottime");
  if (!equal(asked.rtmr3, atRequest)) {
    throw refuse(`the guest asked at another point of its boot: rtmr3 ${toHex(asked.rtmr3)}, the log gives ${toHex(atRequest)}`);
  }
  const payload = findEvent(runtimeEvents, "key-provider");
  requireKeyProvider(payload, { kind: "local", id: proof.mrEnclave });
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

function malformed(detail: string): KmsError {
  return new KmsError("malformed.file", `key provider response: ${detail}`);
}

function refuse(detail: string): KmsError {
  return new KmsError("unproven.key-provider", `key provider: ${detail}`);
}
