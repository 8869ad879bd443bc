/** The boot mode on the command line: which key provider a guest has to have recorded, and what it did record. */
import { X509Certificate } from "node:crypto";
import {
  type KeyProviderDemand,
  type KeyProviderInfo,
  type KeyProviderKind,
  parseKeyProviderInfo,
  requireKeyProvider,
} from "../kms/attestation/key-provider-info.ts";
import { fromHex, toHex } from "../kms/bytes.ts";
import { KmsError } from "../kms/errors.ts";
import { usageError } from "./lib/cli.ts";
import { readInput } from "./lib/input-file.ts";

export interface BootModeOptions {
  readonly keyProvider?: KeyProviderKind;
  readonly keyProviderId?: string;
  readonly rootCa?: string;
}

const MAX_CERTIFICATE_BYTES = 64 * 1024;
const hint = "--root-ca names the root CA of a KMS; --key-provider-id any provider by its id";

/** Undefined when nothing is demanded. */
export async function readDemand(options: BootModeOptions): Promise<KeyProviderDemand | undefined> {
  const { keyProvider: kind, keyProviderId, rootCa } = options;
  if (rootCa !== undefined) {
    if (keyProviderId !== undefined) throw usageError("--root-ca and --key-provider-id: need one of them", hint);
    if (kind !== undefined && kind !== "kms") throw usageError(`--root-ca: does not go with --key-provider ${kind}`, hint);
    return { kind: "kms", id: await spkiOf(rootCa) };
  }
  const id = keyProviderId === undefined ? undefined : parseId(keyProviderId);
  return kind === undefined && id === undefined ? undefined : { kind, id };
}

function parseId(text: string): Uint8Array {
  const digits = text.replace(/^0x/, "");
  return fromHex(digits, "--key-provider-id", undefined, "malformed.usage");
}

async function spkiOf(file: string): Promise<Uint8Array> {
  const bytes = await readInput(file, MAX_CERTIFICATE_BYTES);
  try {
    return new Uint8Array(new X509Certificate(bytes).publicKey.export({ format: "der", type: "spki" }));
  } catch (cause) {
    throw new KmsError("malformed.certificate", `${file}: not a certificate`, { cause });
  }
}

export interface KeyProviderReport {
  readonly name: KeyProviderKind;
  readonly id: string;
}

export interface BootMode {
  readonly info: KeyProviderInfo | undefined;
  readonly report: KeyProviderReport | null;
  readonly notes: readonly string[];
}

/** The KMS passes the event on to the policy as it is; here a demand is a check, and without one it is shown. */
export function judgeBootMode(payload: Uint8Array | undefined, demand: KeyProviderDemand | undefined): BootMode {
  const info = demand === undefined ? readable(payload) : requireKeyProvider(payload, demand);
  if (info === undefined) {
    const note =
      payload === undefined ? [] : ["the key-provider event is not in the form that guests write; a policy sees its raw bytes"];
    return { info, report: null, notes: note };
  }
  return { info, report: { name: info.kind, id: toHex(info.id) }, notes: [] };
}

function readable(payload: Uint8Array | undefined): KeyProviderInfo | undefined {
  try {
    return payload && parseKeyProviderInfo(payload);
  } catch (thrown) {
    if (thrown instanceof KmsError) return undefined;
    throw thrown;
  }
}
