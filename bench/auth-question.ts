/** The one question that every contender of the webhook's bench answers, and what a right answer contains. */
import type { Hex } from "viem";

export const contract: Hex = "0x5fbdb2315678afecb367f032d93f642f64180aa3";
export const chainId = 31_337;
export const gatewayAppId = "0x9fe46736679d2d9a65f0992f2272de9f3c7fa6e0";

/** What a KMS sends about itself, in its spelling. */
export const question = {
  teeVariant: "dstack-tdx",
  mrAggregated: "11".repeat(32),
  osImageHash: "22".repeat(32),
  mrSystem: "33".repeat(32),
  appId: "44".repeat(20),
  composeHash: "55".repeat(32),
  instanceId: "66".repeat(20),
  deviceId: "77".repeat(32),
  keyProviderInfo: "",
  tcbStatus: "UpToDate",
  advisoryIds: [],
};

/** The question as the contract's struct. */
export const bootInfo = {
  appId: `0x${question.appId}`,
  composeHash: `0x${question.composeHash}`,
  instanceId: `0x${question.instanceId}`,
  deviceId: `0x${question.deviceId}`,
  mrAggregated: `0x${question.mrAggregated}`,
  mrSystem: `0x${question.mrSystem}`,
  osImageHash: `0x${question.osImageHash}`,
  tcbStatus: question.tcbStatus,
  advisoryIds: [],
} as const;

export const decisionPath = "/bootAuth/kms";
/** Of every right answer, ours and the others'. */
export const allowedText = '"isAllowed":true';
