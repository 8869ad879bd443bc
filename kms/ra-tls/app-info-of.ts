/** The app info that a certificate gets: the summary that guests have always found there, made from evidence that was verified. */
import { createHash } from "node:crypto";
import { tdxBootInfo } from "../attestation/boot-info.ts";
import { findEvents } from "../attestation/events.ts";
import { embeddedVmConfig, parseVmConfig } from "../attestation/image/vm-config.ts";
import type { VerifiedEvidence } from "../attestation/verifier.ts";
import { needLength } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { type AppInfo, MAX_INIT_SCRIPTS, SCRIPT_HASH_BYTES } from "./app-info.ts";

/**
 * The whole log counts, and the image is the one that the evidence itself names, not the request. The reference fills this in before
 * it knows the platform, so every TDX guest has the hash of nothing as its device; certificates must not differ between peers.
 */
const UNKNOWN_DEVICE = new Uint8Array(createHash("sha256").digest());

export function appInfoOf(verified: VerifiedEvidence): AppInfo {
  const { config, runtimeEvents } = verified.evidence.stack;
  const { osImageHash } = parseVmConfig(embeddedVmConfig(config));
  const { appId, composeHash, instanceId, mrSystem, mrAggregated, keyProviderInfo } = tdxBootInfo(
    verified,
    osImageHash,
    "runtime",
  );
  return {
    appId,
    composeHash,
    instanceId,
    deviceId: UNKNOWN_DEVICE,
    mrSystem,
    mrAggregated,
    osImageHash,
    keyProviderInfo,
    initScriptHashes: initScriptHashes(findEvents(runtimeEvents, "init-script-hash")),
  };
}

function initScriptHashes(payloads: readonly Uint8Array[]): readonly Uint8Array[] {
  if (payloads.length > MAX_INIT_SCRIPTS) {
    throw new KmsError(
      "unproven.event-log",
      `init-script-hash: need at most ${MAX_INIT_SCRIPTS} events, have ${payloads.length}`,
    );
  }
  return payloads.map((payload) => needLength(payload, SCRIPT_HASH_BYTES, "init-script-hash event"));
}
