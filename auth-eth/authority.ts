/** Asks KmsAuth for a decision: policy answer and gateway id at one block of the right chain, within one deadline. */
import type { Hex } from "viem";
import { type BlockReference, type BootInfoMessage, type BootKind, boundedReason, type Decision } from "./api.ts";
import { type AgreedReads, type BlockReader, type BlockReaderSettings, createBlockReader } from "./block-reader.ts";
import { absentIdentityReason, toAppBootInfo } from "./boot-info.ts";
import { explain } from "./gates.ts";
import {
  addressOf,
  appImplementationCall,
  gatewayAppIdCall,
  kmsInfoCall,
  kmsInfoOf,
  policyCall,
  textOf,
  verdictOf,
} from "./kms-auth-abi.ts";
import { UnavailableError } from "./unavailable.ts";

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
    ready: () => reader.read([gatewayAppIdCall], readyAt),
  };
}

function decide(reader: BlockReader, kind: BootKind, boot: BootInfoMessage): Promise<Decision> {
  const calls = [
    gatewayAppIdCall, // first: a policy that burns all gas leaves it none
    policyCall(kind === "app" ? "isAppAllowed" : "isKmsAllowed", toAppBootInfo(boot)),
  ];
  return reader.read(calls, ({ block, results: [gateway, policy] }) => {
    const gatewayAppId = decoded(gateway, textOf);
    const { allows, reason } = decoded(policy, verdictOf);
    const absent = allows ? absentIdentityReason(kind, boot) : undefined;
    const verdict = { isAllowed: allows && absent === undefined, reason: boundedReason(absent ?? reason) };
    return { ...verdict, gatewayAppId, ...explain(kind, boot, verdict), block };
  });
}

function describe(reader: BlockReader): Promise<Deployment> {
  const calls = [gatewayAppIdCall, appImplementationCall, kmsInfoCall];
  return reader.read(calls, ({ chainId, results: [gateway, implementation, info] }) => {
    const keys = decoded(info, kmsInfoOf);
    const isRegistered = keys.k256Pubkey !== "" || keys.caPubkey !== "";
    return {
      gatewayAppId: decoded(gateway, textOf),
      chainId,
      appImplementation: decoded(implementation, addressOf),
      kmsInfo: isRegistered ? keys : null,
    };
  });
}

function readyAt({ block, results: [gateway] }: AgreedReads): BlockReference {
  decoded(gateway, textOf);
  return block;
}

/** What another contract answers cannot be read: unavailable, not denied. */
function decoded<T>(data: Hex | undefined, read: (data: Hex) => T): T {
  try {
    return read(data ?? "0x");
  } catch (cause) {
    throw new UnavailableError("contract-answer", { cause });
  }
}
