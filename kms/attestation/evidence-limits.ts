/** Bounds of an attestation envelope, the same in each of its forms. */

export const MAX_ENVELOPE_BYTES = 10 * 1024 * 1024;
/** Peers end a certificate at 64 KiB, which holds fewer; it bounds what decoding and replay cost, two hashes an event. */
export const MAX_EVENTS = 4_096;
/** Of a log as JSON, whose parsing costs many times its size; a real one has 30,000. */
export const MAX_EVENT_LOG_CHARACTERS = 1024 * 1024;
/** SEV-SNP chains are two certificates or one kernel table. */
export const MAX_CHAIN_ENTRIES = 16;
/** A TPM has 24 PCRs in a bank. */
export const MAX_PCR_VALUES = 256;
export const REPORT_DATA_BYTES = 64;
