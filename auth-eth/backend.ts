/** What decides, put together from its settings: the contracts on a chain, or a policy file. */
import type { Boundary } from "./api.ts";
import { type Authority, createAuthority } from "./authority.ts";
import { createChainRpcs } from "./chain-rpc.ts";
import type { ChainBackend, FileBackend } from "./config.ts";
import { createExchanger } from "./exchange.ts";
import { createFileAuthority } from "./file-authority.ts";
import type { Metrics } from "./metrics.ts";
import type { Log } from "./request-log.ts";

export interface Backend {
  readonly authority: Authority;
  readonly kmsContractAddr: string;
  readonly ethRpcUrl?: string;
  /** Of one decision; absent where nothing is waited for. */
  readonly deadlineMs?: number;
  close(): void;
}

export interface BackendTools {
  readonly metrics: Metrics;
  readonly log: Log;
  /** So many requests run at once: fewer sockets to an endpoint would make some of them wait for one. */
  readonly maxConcurrent: number;
  readonly now?: (() => number) | undefined;
}

export function createBackend(settings: ChainBackend | FileBackend, tools: BackendTools): Backend {
  return settings.kind === "chain" ? chainBackend(settings, tools) : fileBackend(settings, tools);
}

function chainBackend(settings: ChainBackend, { metrics, log, maxConcurrent, now }: BackendTools): Backend {
  const { rpcUrls, rpcOrigins, kmsContractAddr, deadlineMs, maxBatch } = settings;
  const exchanger = createExchanger({ maxSockets: maxConcurrent });
  const onApart = (endpoint: string) =>
    log.warn({ endpoint, maxBatch }, "an endpoint is asked one decision a request for a while");
  const rpcs = createChainRpcs(rpcUrls, { exchanger, maxBatch, observe: metrics.rpc, onApart });
  const onDissent = (endpoint: string, boundary: Boundary) => {
    metrics.dissent(endpoint);
    log.warn({ endpoint, boundary }, "an endpoint is not with the quorum");
  };
  const authority = createAuthority({ ...settings, rpcs, now, onDissent });
  return { authority, kmsContractAddr, ethRpcUrl: rpcOrigins.join(","), deadlineMs, close: () => exchanger.close() };
}

/** The file itself names the contract for the description. */
function fileBackend({ path }: FileBackend, { log }: BackendTools): Backend {
  return { authority: createFileAuthority({ path, log }), kmsContractAddr: "", close: () => undefined };
}

/** Named one by one, so that a new setting is not logged before somebody thought about it. */
export function withoutSecrets(settings: ChainBackend | FileBackend): object {
  if (settings.kind === "file") return { kind: settings.kind, path: settings.path };
  const { kind, rpcOrigins, quorum, kmsContractAddr, chainId, confirmations, blockTag, maxHeadAgeSeconds, deadlineMs, maxBatch } =
    settings;
  return { kind, rpcOrigins, quorum, kmsContractAddr, chainId, confirmations, blockTag, maxHeadAgeSeconds, deadlineMs, maxBatch };
}
