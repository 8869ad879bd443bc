/** Asks KmsAuth for a decision: policy answer and gateway id at one block of the right chain, within one deadline. */
import { decodeFunctionResult, encodeFunctionData, type Hex, parseAbi } from "viem";
import { z } from "zod";
import { type BootInfoMessage, type BootKind, boundedReason, type Decision } from "./api.ts";
import { absentIdentityReason, toAppBootInfo } from "./boot-info.ts";
import { type ChainRpc, type RpcCall, UnavailableError } from "./chain-rpc.ts";
import { explain } from "./gates.ts";

/** A decision takes one attempt and at most one more; together they stay under five seconds, well below a caller's patience. */
const attempts = 2;
export const defaultAttemptMs = 2_400;

/** An app's contract is its owner's code: this bounds what a loop in it costs. The largest legal request needs a third of it. */
const callGas = "0x1000000";

const abi = parseAbi([
  "struct AppBootInfo { address appId; bytes32 composeHash; address instanceId; bytes32 deviceId; bytes32 mrAggregated; bytes32 mrSystem; bytes32 osImageHash; string tcbStatus; string[] advisoryIds; }",
  "function isAppAllowed(AppBootInfo bootInfo) view returns (bool isAllowed, string reason)",
  "function isKmsAllowed(AppBootInfo bootInfo) view returns (bool isAllowed, string reason)",
  "function gatewayAppId() view returns (string)",
  "function appImplementation() view returns (address)",
  "function kmsInfo() view returns (bytes k256Pubkey, bytes caPubkey, bytes quote, bytes eventlog)",
]);

const quantitySchema = z.string().regex(/^0x(0|[1-9a-f][0-9a-f]{0,15})$/);
const bytesSchema = z.string().regex(/^0x([0-9a-f]{2})*$/i);

export interface Deployment {
  readonly gatewayAppId: string;
  readonly chainId: number;
  readonly appImplementation: string;
  readonly kmsInfo: { readonly k256Pubkey: string; readonly caPubkey: string } | null;
}

export interface Authority {
  /** Throws UnavailableError when the chain gives no usable answer, which is never a decision. */
  decide(kind: BootKind, boot: BootInfoMessage): Promise<Decision>;
  deployment(): Promise<Deployment>;
}

export interface AuthoritySettings {
  readonly rpc: ChainRpc;
  readonly kmsContract: Hex;
  /** Absent: the first id seen is the one for the life of the process. */
  readonly chainId: number | undefined;
  readonly confirmations: number;
  readonly attemptMs?: number;
}

export function createAuthority(settings: AuthoritySettings): Authority {
  const pinnedChain = { id: settings.chainId };
  const atOneBlock = <T>(read: (block: BlockReader) => Promise<T>) => withRetry(() => readOnce(settings, pinnedChain, read));
  return {
    decide: (kind, boot) => atOneBlock((block) => decide(block, kind, boot)),
    deployment: () => atOneBlock(describe),
  };
}

async function decide(block: BlockReader, kind: BootKind, boot: BootInfoMessage): Promise<Decision> {
  const functionName = kind === "app" ? "isAppAllowed" : "isKmsAllowed";
  const [policy, gateway] = await block.read(
    encodeFunctionData({ abi, functionName, args: [toAppBootInfo(boot)] }),
    encodeFunctionData({ abi, functionName: "gatewayAppId" }),
  );
  const [allows, reason] = decoded(policy, (data) => decodeFunctionResult({ abi, functionName, data }));
  const gatewayAppId = decoded(gateway, (data) => decodeFunctionResult({ abi, functionName: "gatewayAppId", data }));
  const absent = allows ? absentIdentityReason(kind, boot) : undefined;
  const verdict = { isAllowed: allows && absent === undefined, reason: boundedReason(absent ?? reason) };
  return { ...verdict, gatewayAppId, ...explain(kind, boot, verdict) };
}

async function describe(block: BlockReader): Promise<Deployment> {
  const names = ["gatewayAppId", "appImplementation", "kmsInfo"] as const;
  const answers = await block.read(...names.map((functionName) => encodeFunctionData({ abi, functionName })));
  const [gateway, implementation, info] = answers;
  const [k256Pubkey, caPubkey] = decoded(info, (data) => decodeFunctionResult({ abi, functionName: "kmsInfo", data }));
  const isRegistered = k256Pubkey !== "0x" || caPubkey !== "0x";
  return {
    gatewayAppId: decoded(gateway, (data) => decodeFunctionResult({ abi, functionName: "gatewayAppId", data })),
    chainId: block.chainId,
    appImplementation: decoded(implementation, (data) => decodeFunctionResult({ abi, functionName: "appImplementation", data })),
    kmsInfo: isRegistered ? { k256Pubkey: k256Pubkey.slice(2), caPubkey: caPubkey.slice(2) } : null,
  };
}

interface BlockReader {
  readonly chainId: number;
  read(...callData: Hex[]): Promise<readonly unknown[]>;
}

async function withRetry<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = attempts - 1; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0 || !(error instanceof UnavailableError && error.isPassing)) throw error;
    }
  }
}

async function readOnce<T>(
  settings: AuthoritySettings,
  pinnedChain: { id: number | undefined },
  read: (block: BlockReader) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(settings.attemptMs ?? defaultAttemptMs);
  const ask = (...calls: RpcCall[]) => settings.rpc.batch(calls, signal);
  // The head is asked for anew each time: a remembered one would hide a revocation.
  const [chain, head] = await ask({ method: "eth_chainId", params: [] }, { method: "eth_blockNumber", params: [] });
  const chainId = Number(quantity(chain));
  if (!Number.isSafeInteger(chainId) || chainId !== (pinnedChain.id ?? chainId)) throw new UnavailableError("chain-id");
  const number = quantity(head) - BigInt(settings.confirmations);
  if (number < 0n) throw new UnavailableError("chain-head");
  const block = `0x${number.toString(16)}`;
  const result = await read({
    chainId,
    read: (...callData) =>
      ask(...callData.map((data) => ({ method: "eth_call", params: [{ to: settings.kmsContract, data, gas: callGas }, block] }))),
  });
  pinnedChain.id ??= chainId; // only a chain on which the contract answered
  if (pinnedChain.id !== chainId) throw new UnavailableError("chain-id"); // another request pinned first
  return result;
}

function quantity(value: unknown): bigint {
  const parsed = quantitySchema.safeParse(value);
  if (!parsed.success) throw new UnavailableError("rpc-garbage");
  return BigInt(parsed.data);
}

/** An address without code answers `0x`, which decodes to nothing: unavailable, not denied. */
function decoded<T>(value: unknown, decode: (data: Hex) => T): T {
  try {
    return decode(bytesSchema.parse(value) as Hex);
  } catch (cause) {
    throw new UnavailableError("contract-answer", { cause });
  }
}
