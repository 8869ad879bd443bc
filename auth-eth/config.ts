/** The environment as frozen settings, or every problem at once. What decides (the chain's contract or a file) has no default. */
import { type ContractAddress, parseContract, parseRpcUrls, type RpcUrls } from "./config-values.ts";
import type { BlockTag } from "./endpoint-reader.ts";

export interface ChainBackend extends RpcUrls, ContractAddress {
  readonly kind: "chain";
  /** How many endpoints must agree: to be more than may collude. */
  readonly quorum: number;
  readonly chainId: number | undefined;
  readonly confirmations: number;
  readonly blockTag: BlockTag;
  readonly maxHeadAgeSeconds: number;
  /** For one decision, its retry included. */
  readonly deadlineMs: number;
  /** Calls in one request to an endpoint, where decisions that begin together share it. */
  readonly maxBatch: number;
}

export interface FileBackend {
  readonly kind: "file";
  readonly path: string;
}

export interface Settings {
  readonly host: string;
  readonly port: number;
  /** Requests that may run at once; more are refused. */
  readonly maxConcurrent: number;
  readonly backend: ChainBackend | FileBackend;
}

export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the configuration has ${problems.length} errors`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** Ten blocks of the main network; its finalized block is thirteen to twenty minutes old when all is well. */
const defaultHeadAge: Record<BlockTag, number> = { latest: 120, safe: 1800, finalized: 1800 };
const defaultDeadlineMs = 5_000;
const defaultMaxConcurrent = 256;
/** Below the limits of nodes and of most vendors; and a node answers a batch call by call, so a longer one would hold up its last. */
const defaultMaxBatch = 10;

export function loadConfig(env: NodeJS.ProcessEnv = process.env): Settings {
  const source = createSource(env);
  const host = source.text("HOST") ?? "127.0.0.1";
  const port = source.integer("PORT", { max: 65_535 }) ?? 8000;
  const maxConcurrent = source.integer("AUTH_MAX_CONCURRENT", { min: 1, max: 10_000 }) ?? defaultMaxConcurrent;
  const path = source.text("AUTH_CONFIG_PATH");
  const backend = path === undefined ? chainBackend(source) : fileBackend(source, path);
  if (backend === undefined || source.problems.length > 0) throw new ConfigError(source.problems);
  return Object.freeze({ host, port, maxConcurrent, backend: Object.freeze(backend) });
}

/** The reference loads `.env` from the working folder; what is already set wins. */
export function loadDotEnv(): boolean {
  try {
    process.loadEnvFile();
    return true;
  } catch {
    return false;
  }
}

type Source = ReturnType<typeof createSource>;

function createSource(env: NodeJS.ProcessEnv) {
  const problems: string[] = [];
  const text = (name: string): string | undefined => (env[name] === "" ? undefined : env[name]);
  /** What `parse` throws is a problem; it goes on without a value. */
  const attempt = <T>(parse: () => T): T | undefined => {
    try {
      return parse();
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  };
  const integer = (name: string, limits: { min?: number; max?: number } = {}): number | undefined => {
    const value = text(name);
    return value === undefined ? undefined : attempt(() => parseInteger(name, value, limits));
  };
  return { problems, text, attempt, integer };
}

/** Two sources of the policy would leave open which one decides. */
function fileBackend(source: Source, path: string): FileBackend {
  for (const name of ["ETH_RPC_URL", "KMS_CONTRACT_ADDR"]) {
    if (source.text(name) !== undefined) source.problems.push(`AUTH_CONFIG_PATH and ${name} are both set: choose file or chain`);
  }
  return { kind: "file", path };
}

function chainBackend(source: Source): ChainBackend | undefined {
  const { text, attempt, integer } = source;
  const urls = attempt(() => parseRpcUrls(text("ETH_RPC_URL")));
  const quorum = integer("ETH_RPC_QUORUM", { min: 1, ...(urls && { max: urls.rpcUrls.length }) });
  const contract = attempt(() => parseContract(text("KMS_CONTRACT_ADDR")));
  const chainId = integer("ETH_CHAIN_ID", { min: 1 });
  const confirmations = integer("ETH_FINALITY_CONFIRMATIONS") ?? 0;
  const blockTag = attempt(() => parseBlockTag(text("ETH_BLOCK_TAG") ?? "latest", confirmations)) ?? "latest";
  const maxHeadAgeSeconds = integer("ETH_MAX_HEAD_AGE_SECONDS") ?? defaultHeadAge[blockTag];
  const deadlineMs = integer("AUTH_DEADLINE_MS", { min: 100, max: 60_000 }) ?? defaultDeadlineMs;
  const maxBatch = integer("ETH_RPC_MAX_BATCH", { min: 1, max: 1000 }) ?? defaultMaxBatch;
  if (urls === undefined || contract === undefined) return undefined;
  const majority = Math.floor(urls.rpcUrls.length / 2) + 1;
  const reading = { chainId, confirmations, blockTag, maxHeadAgeSeconds, deadlineMs, maxBatch };
  return { kind: "chain", ...urls, quorum: quorum ?? majority, ...contract, ...reading };
}

function parseInteger(
  name: string,
  text: string,
  { min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number },
): number {
  if (!/^\d+$/.test(text)) throw new Error(`${name} must be a non-negative integer`);
  const number = Number(text);
  if (!Number.isSafeInteger(number)) throw new Error(`${name} exceeds the safe integer range`);
  if (number < min) throw new Error(`${name} must be at least ${min}`);
  if (number > max) throw new Error(`${name} must be at most ${max}`);
  return number;
}

function parseBlockTag(text: string, confirmations: number): BlockTag {
  if (text !== "latest" && text !== "safe" && text !== "finalized")
    throw new Error("ETH_BLOCK_TAG must be latest, safe or finalized");
  if (text !== "latest" && confirmations > 0)
    throw new Error("ETH_FINALITY_CONFIRMATIONS counts from the latest block: set it or ETH_BLOCK_TAG, not both");
  return text;
}
