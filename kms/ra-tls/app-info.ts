/** App info, the identity summary that issued leaves carry: a positional msgpack array of nine, or of eight in older releases. */
import { Decoder, Encoder } from "@msgpack/msgpack";
import { z } from "zod";
import { KmsError } from "../errors.ts";

export interface AppInfo {
  readonly appId: Uint8Array;
  readonly composeHash: Uint8Array;
  readonly instanceId: Uint8Array;
  readonly deviceId: Uint8Array;
  readonly mrSystem: Uint8Array;
  readonly mrAggregated: Uint8Array;
  readonly osImageHash: Uint8Array;
  readonly keyProviderInfo: Uint8Array;
  /** Missing on platforms without an event log. */
  readonly initScriptHashes: readonly Uint8Array[] | undefined;
}

const maxBytes = 64 * 1024;
export const MAX_INIT_SCRIPTS = 5;
export const SCRIPT_HASH_BYTES = 32;

const bin = z.instanceof(Uint8Array);
const hash = bin.refine((value) => value.length === SCRIPT_HASH_BYTES);
const eight = [bin, bin, bin, bin, hash, hash, bin, bin] as const;
const schema = z.union([z.tuple([...eight, z.array(hash).max(MAX_INIT_SCRIPTS).nullable()]), z.tuple([...eight])]);
const decoder = new Decoder({ maxArrayLength: 16, maxBinLength: maxBytes, maxStrLength: 0, maxMapLength: 0, maxExtLength: 0 });

export function decodeAppInfo(bytes: Uint8Array): AppInfo {
  const [appId, composeHash, instanceId, deviceId, mrSystem, mrAggregated, osImageHash, keyProviderInfo, scripts] = parse(bytes);
  const initScriptHashes = scripts ?? undefined;
  return {
    appId,
    composeHash,
    instanceId,
    deviceId,
    mrSystem,
    mrAggregated,
    osImageHash,
    keyProviderInfo,
    initScriptHashes,
  };
}

export function encodeAppInfo(info: AppInfo): Uint8Array {
  const { appId, composeHash, instanceId, deviceId, mrSystem, mrAggregated, osImageHash, keyProviderInfo } = info;
  const scripts = info.initScriptHashes ?? null;
  const fields = [appId, composeHash, instanceId, deviceId, mrSystem, mrAggregated, osImageHash, keyProviderInfo, scripts];
  return new Encoder().encode(fields);
}

function parse(bytes: Uint8Array): z.infer<typeof schema> {
  try {
    if (bytes.length > maxBytes) throw new RangeError(`need at most ${maxBytes} bytes, have ${bytes.length}`);
    return schema.parse(decoder.decode(bytes));
  } catch (cause) {
    throw new KmsError("malformed.certificate", "app info: cannot be decoded", { cause });
  }
}
