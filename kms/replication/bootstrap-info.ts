/** The content of bootstrap-info.json: the public root keys and the evidence that a KMS made them. */
import { z } from "zod";
import { fromHex, toHex } from "../bytes.ts";

export interface BootstrapInfo {
  readonly ca_pubkey: Uint8Array;
  readonly k256_pubkey: Uint8Array;
  readonly attestation: Uint8Array;
}

const hex = z.string().regex(/^(?:[0-9a-fA-F]{2})*$/);
/** Files of releases up to 0.5.5 have no attestation but a quote and an event log. */
const fileSchema = z.object({ ca_pubkey: hex, k256_pubkey: hex, attestation: hex.default("") });

/** Null for anything that is not such a file: the keys serve without it. */
export function parseBootstrapInfo(json: unknown): BootstrapInfo | null {
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) return null;
  return {
    ca_pubkey: fromHex(parsed.data.ca_pubkey, "ca_pubkey"),
    k256_pubkey: fromHex(parsed.data.k256_pubkey, "k256_pubkey"),
    attestation: fromHex(parsed.data.attestation, "attestation"),
  };
}

export function formatBootstrapInfo(info: BootstrapInfo) {
  return {
    ca_pubkey: toHex(info.ca_pubkey),
    k256_pubkey: toHex(info.k256_pubkey),
    attestation: toHex(info.attestation),
  };
}
