/** Boots as the appraisal would give them, for tests of what comes after it. */
import type { AppraisedBoot } from "../../../kms/attestation/appraise.ts";
import type { BootInfo } from "../../../kms/attestation/boot-info.ts";
import { utf8 } from "../../../kms/bytes.ts";

export function bootInfo(changes: Partial<BootInfo> = {}): BootInfo {
  return {
    teeVariant: "dstack-tdx",
    mrAggregated: new Uint8Array(32).fill(0x01),
    osImageHash: new Uint8Array(32).fill(0x02),
    mrSystem: new Uint8Array(32).fill(0x03),
    appId: new Uint8Array(20).fill(0x04),
    composeHash: new Uint8Array(32).fill(0x05),
    instanceId: new Uint8Array(20).fill(0x06),
    deviceId: new Uint8Array(32).fill(0x07),
    keyProviderInfo: utf8("{}"),
    tcbStatus: "UpToDate",
    advisoryIds: ["INTEL-SA-00001"],
    ...changes,
  };
}

/** The brand is forged here, as only the appraisal makes a real one. */
export function appraised(changes: Partial<BootInfo> = {}): AppraisedBoot {
  return { info: bootInfo(changes) } as unknown as AppraisedBoot;
}
