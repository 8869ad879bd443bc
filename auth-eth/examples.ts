/** Requests and answers as the document shows them. */
import type { Decision, InfoResponse } from "./api.ts";

const hash = (digits: string): string => digits.repeat(64 / digits.length);
const block = { number: 8_123_456, hash: `0x${hash("b10c")}`, timestamp: 1_760_000_000 };
const address = `0x${"5f".repeat(20)}`;

const kms = {
  teeVariant: "dstack-tdx",
  mrAggregated: hash("a1"),
  osImageHash: hash("05"),
  mrSystem: "",
  appId: "0a".repeat(20),
  composeHash: "",
  instanceId: "",
  deviceId: hash("de"),
  tcbStatus: "UpToDate",
  advisoryIds: [],
};

/** As a KMS sends them: lower-case hex without prefix, the empty text for what the evidence does not name. */
export const bootExamples = {
  kms,
  app: { ...kms, composeHash: hash("c0"), instanceId: "1d".repeat(20) },
  snp: { ...kms, teeVariant: "dstack-amd-sev-snp", appId: "", deviceId: hash("de").repeat(2), tcbStatus: "" },
};

export const allowedExample: Decision = {
  isAllowed: true,
  reason: "",
  gatewayAppId: "any",
  code: "allowed",
  block,
  trace: [
    {
      gate: "os-image",
      expected: "an OS image that KmsAuth lists",
      came: `0x${kms.osImageHash}`,
      outcome: "passed",
      task: null,
    },
  ],
};

export const deniedExample: Decision = {
  ...allowedExample,
  isAllowed: false,
  reason: "OS image is not allowed",
  code: "denied.os-image",
  trace: [
    {
      gate: "os-image",
      expected: "an OS image that KmsAuth lists",
      came: `0x${kms.osImageHash}`,
      outcome: "failed",
      task: `kms add-image 0x${kms.osImageHash}`,
    },
  ],
};

export const infoExample: InfoResponse = {
  status: "ok",
  kmsContractAddr: address,
  ethRpcUrl: "https://rpc.example",
  gatewayAppId: "any",
  chainId: 1,
  appImplementation: address,
  appAuthImplementation: address,
  kmsInfo: { k256Pubkey: `02${hash("4b")}`, caPubkey: `3059${"ca".repeat(89)}` },
};

export const readyExample = { status: "ready", block };
