/** Asks KmsAuth for a decision: policy answer and gateway id at one block of the right chain, within one deadline. */
import { decodeFunctionResult, encodeFunctionData, type Hex, parseAbi, prepareEncodeFunctionData } from "viem";
import { type BlockReference, type BootInfoMessage, type BootKind, boundedReason, type Decision } from "./api.ts";
import { type AgreedReads, type BlockReader, type BlockReaderSettings, createBlockReader } from "./block-reader.ts";
import { absentIdentityReason, toAppBootInfo } from "./boot-info.ts";
import { explain } from "./gates.ts";
import { UnavailableError } from "./unavailable.ts";

const abi = parseAbi([
  "struct AppBootInfo { address appId; bytes32 composeHash; address instanceId; bytes32 deviceId; bytes32 mrAggregated; bytes32 mrSystem; bytes32 osImageHash; string tcbStatus; string[] advisoryIds; }",
  "function isAppAllowed(AppBootInfo bootInfo) view returns (bool isAllowed, string reason)",
  "function isKmsAllowed(AppBootInfo bootInfo) view returns (bool isAllowed, string reason)",
  "function gatewayAppId() view returns (string)",
  "function appImplementation() view returns (address)",
  "function kmsInfo() view returns (bytes k256Pubkey, bytes caPubkey, bytes quote, bytes eventlog)",
]);

/** Made once: viem hashes a function's signature for every encoding, a fifth of what a decision costs outside its sockets. */
const gatewayCall = encodeFunctionData({ abi, functionName: "gatewayAppId" });
const appPolicy = prepareEncodeFunctionData({ abi, functionName: "isAppAllowed" });
const kmsPolicy = prepareEncodeFunctionData({ abi, functionName: "isKmsAllowed" });

export interface Deployment {
  readonly gatewayAppId: string;
  readonly chainId: number;
  readonly appImplementation: string;
  /** Null before registration; absent where keys cannot be registered. */
  readonly kmsInfo?: { readonly k256Pubkey: string; readonly caPubkey: string } | null;
}

export interface Authority {
  /** Throws UnavailableError when the chain gives no usable answer, which is never a decision. */
  decide(kind: BootKind, boot: BootInfoMessage): Promise<Decision>;
  deployment(): Promise<Deployment>;
  /** Throws UnavailableError unless a decision could be made now; names the block that one would be made from, where there is one. */
  ready(): Promise<BlockReference | undefined>;
}

export function createAuthority(settings: BlockReaderSettings): Authority {
  const reader = createBlockReader(settings);
  return {
    decide: (kind, boot) => decide(reader, kind, boot),
    deployment: () => describe(reader),
    ready: () => reader.read([gatewayCall], readyAt),
  };
}

function decide(reader: BlockReader, kind: BootKind, boot: BootInfoMessage): Promise<Decision> {
  const functionName = kind === "app" ? "isAppAllowed" : "isKmsAllowed";
  const args = [toAppBootInfo(boot)] as const;
  const calls = [
    gatewayCall, // first: a policy that burns all gas leaves it none
    kind === "app" ? encodeFunctionData({ ...appPolicy, args }) : encodeFunctionData({ ...kmsPolicy, args }),
  ];
  return reader.read(calls, ({ block, results: [gateway, policy] }) => {
    const gatewayAppId = decoded(gateway, (data) => decodeFunctionResult({ abi, functionName: "gatewayAppId", data }));
    const [allows, reason] = decoded(policy, (data) => decodeFunctionResult({ abi, functionName, data }));
    const absent = allows ? absentIdentityReason(kind, boot) : undefined;
    const verdict = { isAllowed: allows && absent === undefined, reason: boundedReason(absent ?? reason) };
    return { ...verdict, gatewayAppId, ...explain(kind, boot, verdict), block };
  });
}

function describe(reader: BlockReader): Promise<Deployment> {
  const names = ["gatewayAppId", "appImplementation", "kmsInfo"] as const;
  const calls = names.map((functionName) => encodeFunctionData({ abi, functionName }));
  return reader.read(calls, ({ chainId, results: [gateway, implementation, info] }) => {
    const [k256Pubkey, caPubkey] = decoded(info, (data) => decodeFunctionResult({ abi, functionName: "kmsInfo", data }));
    const isRegistered = k256Pubkey !== "0x" || caPubkey !== "0x";
    return {
      gatewayAppId: decoded(gateway, (data) => decodeFunctionResult({ abi, functionName: "gatewayAppId", data })),
      chainId,
      appImplementation: decoded(implementation, (data) =>
        decodeFunctionResult({ abi, functionName: "appImplementation", data }),
      ),
      kmsInfo: isRegistered ? { k256Pubkey: k256Pubkey.slice(2), caPubkey: caPubkey.slice(2) } : null,
    };
  });
}

function readyAt({ block, results: [gateway] }: AgreedReads): BlockReference {
  decoded(gateway, (data) => decodeFunctionResult({ abi, functionName: "gatewayAppId", data }));
  return block;
}

/** What another contract answers decodes to nothing: unavailable, not denied. */
function decoded<T>(data: Hex | undefined, decode: (data: Hex) => T): T {
  try {
    return decode(data ?? "0x");
  } catch (cause) {
    throw new UnavailableError("contract-answer", { cause });
  }
}
