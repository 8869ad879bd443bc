/** The registers of a cloud's vTPM as a BootInfo needs them. Only a verifier of TPM quotes may make this; this release has none. */

declare const proven: unique symbol;

export interface ProvenPcrs {
  readonly [proven]: true;
  /** The quote's extra data, which names the TDX quote that it belongs to. */
  readonly qualifiedData: Uint8Array;
  /** SHA-256 bank: firmware, kernel image, and the guest's own events. */
  readonly pcr0: Uint8Array;
  readonly pcr2: Uint8Array;
  readonly pcr14: Uint8Array;
}
