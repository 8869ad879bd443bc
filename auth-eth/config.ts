/** The environment as frozen settings, or every problem at once. The RPC endpoint and the contract have no default. */
import { getAddress, type Hex } from "viem";
import type { BlockTag } from "./block-reader.ts";

export interface Settings {
  readonly host: string;
  readonly port: number;
  readonly rpcUrl: string;
  /** Protocol and host of the RPC endpoint: the rest may be a secret. */
  readonly rpcOrigin: string;
  readonly kmsContract: Hex;
  /** As it was written. */
  readonly kmsContractAddr: string;
  readonly chainId: number | undefined;
  readonly confirmations: number;
  readonly blockTag: BlockTag;
  readonly maxHeadAgeSeconds: number;
}

export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the configuration has ${problems.length} errors`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}

const maxPort = 65_535;
/** Ten blocks of the main network; its finalized block is thirteen to twenty minutes old when all is well. */
const defaultHeadAge: Record<BlockTag, string> = { latest: "120", safe: "1800", finalized: "1800" };

export function loadConfig(env: NodeJS.ProcessEnv = process.env): Settings {
  const problems: string[] = [];
  const attempt = <T>(parse: () => T): T | undefined => {
    try {
      return parse();
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  };
  const value = (name: string): string | undefined => (env[name] === "" ? undefined : env[name]);
  const port = attempt(() => parseInteger("PORT", value("PORT") ?? "8000", maxPort));
  const rpc = attempt(() => parseRpcUrl(value("ETH_RPC_URL")));
  const contract = attempt(() => parseContract(value("KMS_CONTRACT_ADDR")));
  const chainIdText = value("ETH_CHAIN_ID");
  const chainId = chainIdText === undefined ? undefined : attempt(() => parseInteger("ETH_CHAIN_ID", chainIdText));
  const confirmations = attempt(() => parseInteger("ETH_FINALITY_CONFIRMATIONS", value("ETH_FINALITY_CONFIRMATIONS") ?? "0"));
  const blockTag = attempt(() => parseBlockTag(value("ETH_BLOCK_TAG") ?? "latest", confirmations ?? 0));
  const ageText = value("ETH_MAX_HEAD_AGE_SECONDS") ?? defaultHeadAge[blockTag ?? "latest"];
  const maxHeadAgeSeconds = attempt(() => parseInteger("ETH_MAX_HEAD_AGE_SECONDS", ageText));
  if (port === undefined || !rpc || !contract || confirmations === undefined) throw new ConfigError(problems);
  if (blockTag === undefined || maxHeadAgeSeconds === undefined || problems.length > 0) throw new ConfigError(problems);
  const chain = { chainId, confirmations, blockTag, maxHeadAgeSeconds };
  return Object.freeze({ host: value("HOST") ?? "127.0.0.1", port, ...rpc, ...contract, ...chain });
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

function parseInteger(name: string, text: string, max: number = Number.MAX_SAFE_INTEGER): number {
  if (!/^\d+$/.test(text)) throw new Error(`${name} must be a non-negative integer`);
  const number = Number(text);
  if (!Number.isSafeInteger(number)) throw new Error(`${name} exceeds the safe integer range`);
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

/** The messages never repeat the value: it may carry a key. */
function parseRpcUrl(text: string | undefined): { rpcUrl: string; rpcOrigin: string } {
  if (text === undefined) throw new Error("ETH_RPC_URL is not set: name the RPC endpoint of the chain");
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol)) throw new Error("ETH_RPC_URL must be an http or https URL");
  return { rpcUrl: text, rpcOrigin: `${url.protocol}//${url.host}` };
}

function parseContract(text: string | undefined): { kmsContract: Hex; kmsContractAddr: string } {
  if (text === undefined) throw new Error("KMS_CONTRACT_ADDR is not set: name the KmsAuth proxy");
  const digits = /^0x([0-9a-fA-F]{40})$/.exec(text)?.[1];
  if (digits === undefined) throw new Error("KMS_CONTRACT_ADDR must be 0x and 40 hex digits");
  const kmsContract: Hex = `0x${digits.toLowerCase()}`;
  if (/^0+$/.test(digits)) throw new Error("KMS_CONTRACT_ADDR must not be the zero address");
  const isMixedCase = digits !== digits.toLowerCase() && digits !== digits.toUpperCase();
  if (isMixedCase && getAddress(kmsContract) !== text)
    throw new Error("KMS_CONTRACT_ADDR has a wrong checksum: is there a typo?");
  return { kmsContract, kmsContractAddr: text };
}
