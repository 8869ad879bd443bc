/** BootInfo: the identity that verified evidence proves, as the policy webhook and the contracts know it. */
import { createHash } from "node:crypto";
import { concat, equal, isZero, needLength, toHex } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { type BootMode, findEvent, replayEvents } from "./events.ts";
import type { RuntimeEvent } from "./evidence.ts";
import type { ProvenPcrs } from "./proven-pcrs.ts";
import type { VerifiedEvidence, VerifiedTdQuote, VerifiedTdxHalf } from "./verifier.ts";

export type TeeVariant = "dstack-tdx" | "dstack-gcp-tdx" | "dstack-nitro-enclave" | "dstack-amd-sev-snp" | "dstack-aws-nitro-tpm";

export interface BootInfo {
  readonly teeVariant: TeeVariant;
  readonly mrAggregated: Uint8Array;
  readonly osImageHash: Uint8Array;
  readonly mrSystem: Uint8Array;
  readonly appId: Uint8Array;
  readonly composeHash: Uint8Array;
  readonly instanceId: Uint8Array;
  readonly deviceId: Uint8Array;
  readonly keyProviderInfo: Uint8Array;
  readonly tcbStatus: string;
  readonly advisoryIds: readonly string[];
}

/** BootInfo as text: lower-case hex without prefix for every byte value. */
export type BootInfoHex = { readonly [K in keyof BootInfo]: BootInfo[K] extends Uint8Array ? string : BootInfo[K] };

/** Members in the order of the webhook's request. */
export function bootInfoHex(info: BootInfo): BootInfoHex {
  return {
    teeVariant: info.teeVariant,
    mrAggregated: toHex(info.mrAggregated),
    osImageHash: toHex(info.osImageHash),
    mrSystem: toHex(info.mrSystem),
    appId: toHex(info.appId),
    composeHash: toHex(info.composeHash),
    instanceId: toHex(info.instanceId),
    deviceId: toHex(info.deviceId),
    keyProviderInfo: toHex(info.keyProviderInfo),
    tcbStatus: info.tcbStatus,
    advisoryIds: info.advisoryIds,
  };
}

export const APP_ID_BYTES = 20;
const COMPOSE_HASH_BYTES = 32;
const INSTANCE_ID_BYTES = 20;

/** BootInfo of a TDX guest. `osImageHash` is a claim until the image is measured. */
export function tdxBootInfo(verified: VerifiedEvidence, osImageHash: Uint8Array, mode: BootMode): BootInfo {
  const { runtimeEvents } = verified.evidence.stack;
  const { body } = verified.quote.quote;
  const identity = bootIdentity(runtimeEvents, verified.quote, mode);
  const launch = concat(body.mrTd, body.rtmr0, body.rtmr1, body.rtmr2);
  const owner = concat(body.mrConfigId, body.mrOwner, body.mrOwnerConfig);
  return {
    teeVariant: "dstack-tdx",
    // the three owner registers count all together or not at all
    mrAggregated: sha256(launch, replayEvents(runtimeEvents, "sha384", mode), isZero(owner) ? new Uint8Array(0) : owner),
    osImageHash,
    mrSystem: sha256(launch, mrKeyProvider(identity.keyProviderInfo)),
    ...identity,
  };
}

/**
 * BootInfo of a TDX guest on Google's cloud. Its hardware registers are nobody's promise there, so the vTPM's stand in their
 * place; `pcrs` can only come from a verifier of that vTPM, and has to be of the very quote and the very events.
 */
export function gcpBootInfo(half: VerifiedTdxHalf, pcrs: ProvenPcrs, osImageHash: Uint8Array, mode: BootMode): BootInfo {
  const { stack, platform } = half.evidence;
  const { runtimeEvents } = stack;
  if (!equal(pcrs.qualifiedData, sha256(platform.quote)))
    throw new KmsError("unproven.report-data", "tpm qualified_data mismatch");
  const replayed = replayEvents(runtimeEvents, "sha256");
  if (!equal(pcrs.pcr14, replayed)) {
    throw new KmsError("unproven.event-log", `PCR14 mismatch, quoted: ${toHex(pcrs.pcr14)}, replayed: ${toHex(replayed)}`);
  }
  const identity = bootIdentity(runtimeEvents, half.quote, mode);
  return {
    teeVariant: "dstack-gcp-tdx",
    mrAggregated: sha256(
      needLength(pcrs.pcr0, 32, "PCR0"),
      needLength(pcrs.pcr2, 32, "PCR2"),
      replayEvents(runtimeEvents, "sha256", mode),
    ),
    osImageHash,
    mrSystem: sha256(osImageHash, mrKeyProvider(identity.keyProviderInfo)),
    ...identity,
  };
}

/** What the events and the platform certificate say, on every platform alike. */
function bootIdentity(
  events: readonly RuntimeEvent[],
  quote: VerifiedTdQuote,
  mode: BootMode,
): Omit<BootInfo, "teeVariant" | "mrAggregated" | "mrSystem" | "osImageHash"> {
  const appId = payloadOf(events, "app-id");
  if (appId.length !== APP_ID_BYTES) throw new KmsError("unproven.app-id", "app_id must be 20 bytes");
  return {
    appId,
    composeHash: exactOrEmpty(payloadOf(events, "compose-hash"), COMPOSE_HASH_BYTES, "compose-hash event"),
    instanceId: exactOrEmpty(payloadOf(events, "instance-id"), INSTANCE_ID_BYTES, "instance-id event"),
    deviceId: sha256(quote.ppid),
    // at boot time the key provider is not known yet, even if the log has it by now
    keyProviderInfo: mode === "boottime" ? new Uint8Array(0) : payloadOf(events, "key-provider"),
    tcbStatus: quote.status,
    advisoryIds: quote.advisoryIds,
  };
}

/** A missing event counts as empty. */
function payloadOf(events: readonly RuntimeEvent[], name: string): Uint8Array {
  return findEvent(events, name) ?? new Uint8Array(0);
}

/** Policy compares these as fixed-size words: a short value must never be padded onto an allowed one. */
function exactOrEmpty(value: Uint8Array, length: number, what: string): Uint8Array {
  return value.length === 0 ? value : needLength(value, length, what);
}

function mrKeyProvider(keyProviderInfo: Uint8Array): Uint8Array {
  return keyProviderInfo.length === 0 ? new Uint8Array(32) : sha256(keyProviderInfo);
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}
