/** Names an Ignition journal after one chain, so that a fresh local chain never continues the journal of another. */

/** Ignition's own name is the chain id alone: against a second local chain it would report contracts that are not there. */
export function deploymentId(chainId: number, genesisHash: string): string {
  if (!/^0x[0-9a-f]{64}$/.test(genesisHash)) throw new Error("genesis hash must be 0x and 64 lower-case hex digits");
  return `chain-${chainId}-${genesisHash.slice(2, 18)}`;
}
