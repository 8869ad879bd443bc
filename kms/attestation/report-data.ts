/** Report data: the 64 bytes that tie evidence to a key, and the only way to BoundEvidence. */
import { createHash } from "node:crypto";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { concat, equal, toHex, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import type { Evidence } from "./evidence.ts";

declare const bound: unique symbol;

/** Evidence that claims the report data its bearer had to produce. The verifier proves the claim by the quote. */
export type BoundEvidence = Evidence & { readonly [bound]: true };

export type ReportDataTag = "ratls-cert" | "app-data" | "kms-root-ca";

/** SHA-512(tag ‖ ":" ‖ content). */
export function reportData(tag: ReportDataTag, content: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha512").update(`${tag}:`).update(content).digest());
}

/** The bootstrap proof has a scheme of its own, keccak and zero padding; its misspelling is part of the protocol. */
export function bootstrapReportData(caSpki: Uint8Array, k256Pubkey: Uint8Array): Uint8Array {
  const message = utf8(`dstack-kms-genereted-keys-v1:${toHex(caSpki)};${toHex(k256Pubkey)};`);
  return concat(keccak_256(message), new Uint8Array(32));
}

export function bindEvidence(evidence: Evidence, expected: Uint8Array): BoundEvidence {
  if (!equal(evidence.stack.reportData, expected)) throw new KmsError("unproven.report-data", "report data mismatch");
  return evidence as BoundEvidence;
}
