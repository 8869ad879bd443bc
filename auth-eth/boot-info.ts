/** The request as the contract's AppBootInfo: exact identities, the absent ones as zero and remembered as absent. */
import { createHash } from "node:crypto";
import type { Hex } from "viem";
import type { BootInfoMessage, BootKind } from "./api.ts";

const hashBytes = 32;
const addressBytes = 20;
const chipIdDigits = 128;

/** Members in the order of the contract's struct. */
export interface AppBootInfo {
  readonly appId: Hex;
  readonly composeHash: Hex;
  readonly instanceId: Hex;
  readonly deviceId: Hex;
  readonly mrAggregated: Hex;
  readonly mrSystem: Hex;
  readonly osImageHash: Hex;
  readonly tcbStatus: string;
  readonly advisoryIds: readonly string[];
}

export function toAppBootInfo(boot: BootInfoMessage): AppBootInfo {
  return {
    appId: identity(boot.appId, addressBytes),
    composeHash: identity(boot.composeHash, hashBytes),
    instanceId: identity(boot.instanceId, addressBytes),
    deviceId: deviceIdentity(boot.deviceId),
    mrAggregated: identity(boot.mrAggregated, hashBytes),
    mrSystem: identity(boot.mrSystem, hashBytes),
    osImageHash: identity(boot.osImageHash, hashBytes),
    tcbStatus: boot.tcbStatus,
    advisoryIds: boot.advisoryIds,
  };
}

/**
 * The contract cannot tell an absent identity from zero, and its owner can list zero: evidence that names no image or no compose
 * hash would then pass. What is absent fails its gate, in the contract's order and words. Asked only where the contract allows.
 */
export function absentIdentityReason(kind: BootKind, boot: BootInfoMessage): string | undefined {
  if (kind === "app" && isAbsent(boot.appId)) return "App not registered";
  if (isAbsent(boot.osImageHash)) return "OS image is not allowed";
  if (kind === "app" && isAbsent(boot.composeHash)) return "Compose hash not allowed";
  return undefined;
}

/** Lower case before encoding: a mixed-case address would be held to its EIP-55 checksum. */
function identity(text: string, bytes: number): Hex {
  const digits = digitsOf(text);
  return `0x${digits === "" ? "00".repeat(bytes) : digits}`;
}

function deviceIdentity(text: string): Hex {
  const digits = digitsOf(text);
  if (digits.length !== chipIdDigits) return `0x${digits}`;
  return `0x${createHash("sha256").update(Buffer.from(digits, "hex")).digest("hex")}`;
}

function isAbsent(text: string): boolean {
  return digitsOf(text) === "";
}

function digitsOf(text: string): string {
  return (text.startsWith("0x") ? text.slice(2) : text).toLowerCase();
}
