/** Asks what decides once before the webhook listens: a chain or contract that cannot be the right one ends the start. */
import type { Boundary } from "./api.ts";
import type { Authority } from "./authority.ts";
import { type ChainBackend, ConfigError, type FileBackend } from "./config.ts";
import { UnavailableError } from "./unavailable.ts";

/** What may pass (a node that is down, a file not there yet) is returned for a warning: requests are answered unavailable until then. */
export async function checkAtStart(authority: Authority, backend: ChainBackend | FileBackend): Promise<Boundary | undefined> {
  try {
    await authority.ready();
    return undefined;
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    const problem = backend.kind === "chain" ? problemOf(error.boundary, backend) : undefined;
    if (problem !== undefined) throw new ConfigError([problem]);
    return error.boundary;
  }
}

function problemOf(boundary: Boundary, { chainId, kmsContractAddr }: ChainBackend): string | undefined {
  if (boundary === "no-contract") return `KMS_CONTRACT_ADDR ${kmsContractAddr} has no code on the chain of ETH_RPC_URL`;
  if (boundary !== "chain-id") return undefined;
  return chainId === undefined
    ? "ETH_RPC_URL contradicts itself on the chain id"
    : `ETH_RPC_URL serves another chain than ETH_CHAIN_ID ${chainId}`;
}
