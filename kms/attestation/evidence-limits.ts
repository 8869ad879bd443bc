/** Bounds of an attestation envelope, the same in each of its forms. */

export const MAX_ENVELOPE_BYTES = 10 * 1024 * 1024;
/** No real log comes near it; it bounds the replay, which is two hashes an event. */
export const MAX_EVENTS = 16_384;
/** SEV-SNP chains are two certificates or one kernel table. */
export const MAX_CHAIN_ENTRIES = 16;
/** A TPM has 24 PCRs in a bank. */
export const MAX_PCR_VALUES = 256;
export const REPORT_DATA_BYTES = 64;
