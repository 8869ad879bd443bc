/** The values of the environment that have a form of their own: RPC endpoints and the contract's address. */
import type { Hex } from "viem";
import { endpointOf } from "./exchange.ts";
import { checksummed } from "./kms-auth-abi.ts";

export interface RpcUrls {
  readonly rpcUrls: readonly string[];
  /** Protocol and host of each endpoint, in their order: the rest may be a secret. */
  readonly rpcOrigins: readonly string[];
}

export interface ContractAddress {
  readonly kmsContract: Hex;
  /** As it was written. */
  readonly kmsContractAddr: string;
}

/** Every decision asks all of them. */
const maxEndpoints = 16;

/** The messages never repeat a value: it may carry a key. */
export function parseRpcUrls(text: string | undefined): RpcUrls {
  if (text === undefined) throw new Error("ETH_RPC_URL is not set: name the RPC endpoint of the chain");
  const rpcUrls = text.split(/[\s,]+/).filter((part) => part !== "");
  if (rpcUrls.length === 0) throw new Error("ETH_RPC_URL must be an http or https URL");
  if (rpcUrls.length > maxEndpoints) throw new Error(`ETH_RPC_URL must name at most ${maxEndpoints} endpoints`);
  const urls = rpcUrls.map((part, index) => parseUrl(part, rpcUrls.length === 1 ? "ETH_RPC_URL" : `ETH_RPC_URL ${index + 1}`));
  const places = urls.map(({ protocol, host, pathname, search }) => `${protocol}//${host}${pathname}${search}`);
  places.forEach((place, index) => {
    const first = places.indexOf(place);
    // one endpoint named twice would be two voices of one witness
    if (first !== index) throw new Error(`ETH_RPC_URL ${index + 1} repeats endpoint ${first + 1}`);
  });
  return { rpcUrls, rpcOrigins: urls.map(({ protocol, host }) => `${protocol}//${host}`) };
}

function parseUrl(text: string, name: string): URL {
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol)) throw new Error(`${name} must be an http or https URL`);
  try {
    endpointOf(text);
  } catch {
    throw new Error(`${name} has a user name or password with a bad escape`);
  }
  return url;
}

export function parseContract(text: string | undefined): ContractAddress {
  if (text === undefined) throw new Error("KMS_CONTRACT_ADDR is not set: name the KmsAuth proxy");
  const digits = /^0x([0-9a-fA-F]{40})$/.exec(text)?.[1];
  if (digits === undefined) throw new Error("KMS_CONTRACT_ADDR must be 0x and 40 hex digits");
  const kmsContract: Hex = `0x${digits.toLowerCase()}`;
  if (/^0+$/.test(digits)) throw new Error("KMS_CONTRACT_ADDR must not be the zero address");
  const isMixedCase = digits !== digits.toLowerCase() && digits !== digits.toUpperCase();
  if (isMixedCase && checksummed(kmsContract) !== text)
    throw new Error("KMS_CONTRACT_ADDR has a wrong checksum: is there a typo?");
  return { kmsContract, kmsContractAddr: text };
}
