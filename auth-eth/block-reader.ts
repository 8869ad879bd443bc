/** Reads of the contract at one block of the right chain that enough endpoints agree on, within one deadline. */
import type { Hex } from "viem";
import type { BlockReference, Boundary } from "./api.ts";
import type { ChainRpc } from "./chain-rpc.ts";
import { createEndpointReader, questionOf, type ReadSettings } from "./endpoint-reader.ts";
import { createFreshness } from "./freshness.ts";
import { agree } from "./quorum.ts";
import { UnavailableError } from "./unavailable.ts";

export interface BlockReaderSettings extends ReadSettings {
  readonly rpcs: readonly ChainRpc[];
  /** How many of them must agree. */
  readonly quorum: number;
  /** Absent: the first id that was agreed on is the one for the life of the process. */
  readonly chainId: number | undefined;
  /** Of the block that the tag names, with confirmations of the head. */
  readonly maxHeadAgeSeconds: number;
  /** For one read, its retry included. */
  readonly deadlineMs: number;
  readonly now?: (() => number) | undefined;
  /** Of several endpoints, told of one whose answer cannot be used, or that tells another story of the very block decided from. */
  readonly onDissent?: ((endpoint: string, boundary: Boundary) => void) | undefined;
}

export interface AgreedReads {
  readonly chainId: number;
  readonly block: BlockReference;
  /** In the order of the calls. */
  readonly results: readonly Hex[];
}

export interface BlockReader {
  /** Throws UnavailableError when the chain gives no usable answer. What `decode` throws of that kind is final. */
  read<T>(calls: readonly Hex[], decode: (reads: AgreedReads) => T): Promise<T>;
}

export function createBlockReader(settings: BlockReaderSettings): BlockReader {
  const { rpcs, quorum, deadlineMs, kmsContract, onDissent } = settings;
  let pinnedChain = settings.chainId;
  const checkChain = (id: number): void => {
    if (id !== (pinnedChain ?? id)) throw new UnavailableError("chain-id");
  };
  const freshness = createFreshness(settings.maxHeadAgeSeconds, settings.now);
  const readers = rpcs.map((rpc) => createEndpointReader({ ...settings, rpc, freshness, checkChain }));
  return {
    async read(calls, decode) {
      const question = questionOf(kmsContract, calls, freshness.floor());
      const voters = readers.map(
        (reader) => (at: number | undefined, signal: AbortSignal, end: number) => reader.read(question, at, { signal, end }),
      );
      const dissent = (voter: number, boundary: Boundary): void => {
        if (rpcs.length > 1) onDissent?.(rpcs[voter]?.name ?? "", boundary);
      };
      const { chainId, header, results, isAnchored } = await agree({ voters, quorum, deadlineMs, dissent });
      const { number, hash, timestamp } = header;
      const result = decode({ chainId, block: { number, hash, timestamp }, results });
      checkChain(chainId); // another request may have pinned first
      if (isAnchored || quorum > 1) freshness.raise(number);
      pinnedChain ??= chainId; // only a chain on which the contract answered
      return result;
    },
  };
}
