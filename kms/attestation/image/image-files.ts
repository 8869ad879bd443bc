/** What of an OS image a launch measures, as the cache and the commands hand it to the measuring functions: proved against the manifest, no disk here. */

/** Firmware and kernel are read whole, as pages of one and patched headers of the other are hashed. */
export interface ImageFiles {
  readonly firmware: Uint8Array;
  readonly kernel: Uint8Array;
  /** Often 100 MiB, and measured as it is: hashed while it is read, never held. */
  readonly initrd: InitrdDigest;
  /** As in metadata.json: the ` initrd=initrd` that the loader appends is not part of it. */
  readonly cmdline: string;
  /** What metadata.json says; undefined where it says nothing. */
  readonly ovmfVariant: "pre202505" | undefined;
  /** For a program that opens them itself, such as the one that makes ACPI tables. */
  readonly paths: ImagePaths;
}

export interface InitrdDigest {
  readonly size: number;
  readonly sha384: Uint8Array;
}

export interface ImagePaths {
  readonly firmware: string;
  readonly kernel: string;
  readonly initrd: string;
}
