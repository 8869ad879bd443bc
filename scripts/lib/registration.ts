/** Verifying that a KMS which its owner allows made the root keys, and the form in which that evidence goes on the chain. */
import { type Hex, toHex } from "viem";
import { appraiseBoot } from "../../kms/attestation/appraise.ts";
import type { BootInfo } from "../../kms/attestation/boot-info.ts";
import { type Evidence, encodeEvidence, stripEvidence, type TdxEvent } from "../../kms/attestation/evidence.ts";
import { type BoundEvidence, bindEvidence, bootstrapReportData } from "../../kms/attestation/report-data.ts";
import type { Verifier } from "../../kms/attestation/verifier.ts";
import { toHex as hexText, utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import type { BootstrapInfo } from "./bootstrap-info.ts";

/** Storing costs about 700 gas a byte, and a transaction may use 16.7 million: a full log beside the quote would not fit. */
const maxEventLogBytes = 12 * 1024;

export interface KmsInfo {
  readonly k256Pubkey: Hex;
  readonly caPubkey: Hex;
  readonly quote: Hex;
  readonly eventlog: Hex;
}

/** The boot that made the keys. The image hash in it is a claim, but the policy pins the measured registers beside it. Without the check of the keys anybody's evidence would register anybody's keys. */
export async function verifyBootstrap(info: BootstrapInfo, verifier: Verifier, vmConfig: string): Promise<BootInfo> {
  const verified = await verifier.verify(bindKeys(info));
  return appraiseBoot(verified, { vmConfig, mode: "runtime" }).info;
}

function bindKeys({ evidence, caSpki, k256Pubkey }: BootstrapInfo): BoundEvidence {
  try {
    return bindEvidence(evidence, bootstrapReportData(caSpki, k256Pubkey));
  } catch (cause) {
    throw new KmsError("unproven.registration", "the evidence does not bind these keys: report data mismatch", { cause });
  }
}

/** The struct that the policy is asked about; only what is exact gets this far, and what is absent stays zero. */
export function toAppBootInfo(boot: BootInfo) {
  return {
    appId: padded(boot.appId, 20),
    composeHash: padded(boot.composeHash, 32),
    instanceId: padded(boot.instanceId, 20),
    deviceId: padded(boot.deviceId, 32),
    mrAggregated: padded(boot.mrAggregated, 32),
    mrSystem: padded(boot.mrSystem, 32),
    osImageHash: padded(boot.osImageHash, 32),
    tcbStatus: boot.tcbStatus,
    advisoryIds: boot.advisoryIds,
  };
}

function padded(value: Uint8Array, length: number): Hex {
  if (value.length !== 0 && value.length !== length) {
    throw new KmsError("malformed.length", `boot information: need ${length} bytes, have ${value.length}`);
  }
  return toHex(value.length === 0 ? new Uint8Array(length) : value);
}

/** TDX: the raw quote and the log as JSON, which public verifiers read. Other platforms: the envelope as it is. */
export function toKmsInfo({ evidence, caSpki, k256Pubkey }: BootstrapInfo): KmsInfo {
  const keys = { k256Pubkey: toHex(k256Pubkey), caPubkey: toHex(caSpki) };
  if (evidence.platform.kind !== "tdx") return { ...keys, quote: toHex(encodeEvidence(evidence)), eventlog: "0x" };
  return { ...keys, quote: toHex(evidence.platform.quote), eventlog: toHex(utf8(eventLogJson(evidence))) };
}

/** A log too large to store is reduced as for certificates: RTMR3 still replays from it. */
function eventLogJson(evidence: Evidence): string {
  const full = logOf(evidence);
  return full.length <= maxEventLogBytes ? full : logOf(stripEvidence(evidence));
}

function logOf({ platform }: Evidence): string {
  return JSON.stringify(platform.kind === "tdx" ? platform.eventLog.map(toJson) : []);
}

function toJson({ imr, eventType, digest, event, eventPayload, version, preimage }: TdxEvent): object {
  return {
    imr,
    event_type: eventType,
    digest: hexText(digest),
    event,
    event_payload: hexText(eventPayload),
    ...(version === 2 && { version }),
    ...(preimage !== undefined && { preimage }),
  };
}
