/** The key-provider event: which of the four boot modes sealed the disk, in the exact bytes that guests write. */
import { equal, fromHex, fromUtf8, toHex, utf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";

/** What an app-compose file names the modes; the byte is the one that version 2 of mr_config_id hashes. */
export const keyProviderKinds = { none: 0, local: 1, kms: 2, tpm: 3 } as const;

export type KeyProviderKind = keyof typeof keyProviderKinds;

export interface KeyProviderInfo {
  readonly kind: KeyProviderKind;
  /** The enclave's MRENCLAVE, or the KMS root CA's key as SubjectPublicKeyInfo; empty for none and tpm. */
  readonly id: Uint8Array;
}

export const MR_ENCLAVE_BYTES = 32;
/** Of a P-256 key it has 91; another algorithm's fits too. */
const MAX_ID_BYTES = 1024;

const eventNames: Readonly<Record<KeyProviderKind, string>> = { none: "none", local: "local-sgx", kms: "kms", tpm: "tpm" };
const form = /^\{"name":"([a-z-]{1,16})","id":"((?:[0-9a-f]{2})*)"\}$/;

/** Stricter than the reference, which reads any JSON: the bytes are hashed into mrSystem, so a second spelling is a second identity. */
export function parseKeyProviderInfo(payload: Uint8Array): KeyProviderInfo {
  if (payload.length > 2 * MAX_ID_BYTES) throw refuse(`need at most ${2 * MAX_ID_BYTES} bytes, have ${payload.length}`);
  const match = form.exec(fromUtf8(payload, "key-provider event", "unproven.key-provider"));
  if (match === null) throw refuse(`need {"name":"…","id":"…"} with lower-case hex, have ${payload.length} bytes that are not`);
  const [, name, digits = ""] = match;
  const kind = kinds.find((each) => eventNames[each] === name);
  if (kind === undefined) throw refuse(`need one of ${Object.values(eventNames).join(", ")}, have ${name}`);
  const id = fromHex(digits, "key-provider event", undefined, "unproven.key-provider");
  requireIdOf(kind, id);
  return { kind, id };
}

const kinds: readonly KeyProviderKind[] = ["none", "local", "kms", "tpm"];

function requireIdOf(kind: KeyProviderKind, id: Uint8Array): void {
  if (kind === "local" && id.length !== MR_ENCLAVE_BYTES) {
    throw refuse(`need an MRENCLAVE of ${MR_ENCLAVE_BYTES} bytes, have ${id.length}`);
  }
  if (kind === "kms" && id[0] !== 0x30) throw refuse(`need a public key in DER, have ${id.length} bytes that are none`);
  if ((kind === "none" || kind === "tpm") && id.length > 0) throw refuse(`${kind} has no id, have ${id.length} bytes`);
}

/** The bytes a guest measures. */
export function encodeKeyProviderInfo({ kind, id }: KeyProviderInfo): Uint8Array {
  return utf8(`{"name":"${eventNames[kind]}","id":"${toHex(id)}"}`);
}

export interface KeyProviderDemand {
  readonly kind?: KeyProviderKind | undefined;
  readonly id?: Uint8Array | undefined;
}

/** Demands that the guest's disk was sealed by this provider. `undefined` is a log without the event, as of a guest that boots. */
export function requireKeyProvider(payload: Uint8Array | undefined, demand: KeyProviderDemand): KeyProviderInfo {
  if (payload === undefined) throw refuse("the log has none: the guest had not asked for its keys when it made this evidence");
  const info = parseKeyProviderInfo(payload);
  if (demand.kind !== undefined && info.kind !== demand.kind) throw refuse(`need ${demand.kind}, have ${info.kind}`);
  if (demand.id !== undefined && !equal(info.id, demand.id)) {
    throw refuse(`need the ${info.kind} provider ${toHex(demand.id) || "without id"}, have ${toHex(info.id) || "none"}`);
  }
  return info;
}

function refuse(detail: string): KmsError {
  return new KmsError("unproven.key-provider", `key-provider event: ${detail}`);
}
