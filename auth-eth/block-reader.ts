/** Reads of the contract at one block of the right chain: one round trip where the node agrees with itself, pinned by hash where not. */
import type { Hex } from "viem";
import { z } from "zod";
import { anchoredProgram, decodeAnchored, maxProgramBytes } from "./anchored-call.ts";
import type { BlockReference } from "./api.ts";
import { type ChainRpc, type RpcCall, UnavailableError } from "./chain-rpc.ts";
import { createFreshness, type Freshness } from "./freshness.ts";

/** A decision takes one attempt and at most one more; together they stay under five seconds, well below a caller's patience. */
export const defaultAttemptMs = 2_400;

/** An app's contract is its owner's code: this bounds what a loop in it costs. The largest legal request needs a third of it. */
const callGas = "0x1000000";

const quantitySchema = z.string().regex(/^0x(0|[1-9a-f][0-9a-f]{0,15})$/);
const hashSchema = z.string().regex(/^0x[0-9a-f]{64}$/);
const headerSchema = z.object({ number: quantitySchema, hash: hashSchema, parentHash: hashSchema, timestamp: quantitySchema });
const bytesSchema = z.string().regex(/^0x([0-9a-f]{2})*$/i);

interface Header extends BlockReference {
  readonly parentHash: string;
}

export interface Reads {
  readonly chainId: number;
  readonly block: BlockReference;
  /** In the order of the calls. */
  readonly results: readonly Hex[];
  /** The reads themselves named the block. */
  readonly isAnchored: boolean;
}

export type BlockTag = "latest" | "safe" | "finalized";

export interface BlockReaderSettings {
  readonly rpc: ChainRpc;
  readonly kmsContract: Hex;
  /** Absent: the first id seen is the one for the life of the process. */
  readonly chainId: number | undefined;
  /** Blocks between the head and the block that is read; each read then takes a trip more, which asks for the head. */
  readonly confirmations: number;
  readonly blockTag: BlockTag;
  /** Of the block that the tag names, with confirmations of the head. */
  readonly maxHeadAgeSeconds: number;
  readonly now?: () => number;
  readonly attemptMs?: number;
}

export interface BlockReader {
  /** Throws UnavailableError when the chain gives no usable answer. What `decode` throws of that kind is final. */
  read<T>(calls: readonly Hex[], decode: (reads: Reads) => T): Promise<T>;
}

type Ask = (...calls: RpcCall[]) => Promise<readonly unknown[]>;

export function createBlockReader(settings: BlockReaderSettings): BlockReader {
  let pinnedChain = settings.chainId;
  const checkChain = (id: number): void => {
    if (!Number.isSafeInteger(id) || id !== (pinnedChain ?? id)) throw new UnavailableError("chain-id");
  };
  const freshness = createFreshness(settings.maxHeadAgeSeconds, settings.now);
  const source: Omit<Source, "floor"> = {
    ...settings,
    checkChain,
    freshness,
    ask: () => {
      const signal = AbortSignal.timeout(settings.attemptMs ?? defaultAttemptMs);
      return (...calls) => settings.rpc.batch(calls, signal);
    },
  };
  return {
    async read(calls, decode) {
      const reads = await readWithRetry({ ...source, floor: freshness.floor() }, calls);
      const result = decode(reads);
      checkChain(reads.chainId); // another request may have pinned first
      if (reads.isAnchored) freshness.raise(reads.block.number);
      pinnedChain ??= reads.chainId; // only a chain on which the contract answered
      return result;
    },
  };
}

interface Source extends BlockReaderSettings {
  readonly freshness: Freshness;
  /** As it was when the read began: a slower one is not stale because a later one overtook it. */
  readonly floor: number;
  checkChain(id: number): void;
  /** Asks that share the deadline of one attempt. */
  ask(): Ask;
}

/** A program too large for one trip, or that the node cannot run, is asked call by call at the block's hash. */
async function readWithRetry(source: Source, calls: readonly Hex[]): Promise<Reads> {
  const program = anchoredProgram(source.kmsContract, calls);
  const fits = program.length / 2 - 1 <= maxProgramBytes;
  let header: Header | undefined;
  try {
    const outcome = await (fits ? readInOneTrip(source, calls.length, program) : readAtHash(source, calls));
    if ("results" in outcome) return outcome;
    header = outcome;
  } catch (error) {
    if (!(error instanceof UnavailableError && error.isPassing)) throw error;
  }
  return readAtHash(source, calls, header);
}

/** The reads, or the header alone when the node ran them at another block than the one it named. */
async function readInOneTrip(source: Source, callCount: number, program: Hex): Promise<Reads | Header> {
  const ask = source.ask();
  const target = await targetOf(source, ask);
  const [chain, head, answer] = await ask(
    { method: "eth_chainId", params: [] },
    { method: "eth_getBlockByNumber", params: [target, false] },
    { method: "eth_call", params: [{ data: program, gas: callGas }, target] },
  ).catch(asFailedProgram);
  const chainId = Number(quantity(chain));
  source.checkChain(chainId);
  const header = headerOf(head);
  const anchored = anchoredOf(answer, callCount);
  if (anchored.chainId !== BigInt(chainId)) throw new UnavailableError("chain-id");
  const isOneBlock =
    anchored.number === BigInt(header.number) &&
    anchored.timestamp === BigInt(header.timestamp) &&
    anchored.parentHash === header.parentHash;
  if (!isOneBlock) return header;
  checkFresh(source, header);
  const results = anchored.results.map((result) => {
    if (result === undefined) throw new UnavailableError("rpc-reverted");
    return result;
  });
  return { chainId, block: referenceOf(header), results, isAnchored: true };
}

async function readAtHash(source: Source, calls: readonly Hex[], known?: Header): Promise<Reads> {
  const ask = source.ask();
  const target = known ? known.hash : await targetOf(source, ask);
  const method = known ? "eth_getBlockByHash" : "eth_getBlockByNumber";
  const [chain, head] = await ask({ method: "eth_chainId", params: [] }, { method, params: [target, false] });
  const chainId = Number(quantity(chain));
  source.checkChain(chainId);
  const header = headerOf(head);
  checkFresh(source, header);
  const block = { blockHash: header.hash, requireCanonical: true };
  const answers = await ask(
    ...calls.map((data) => ({ method: "eth_call", params: [{ to: source.kmsContract, data, gas: callGas }, block] })),
  );
  return { chainId, block: referenceOf(header), results: answers.map(bytesOf), isAnchored: false };
}

/** The head is asked for anew each time: a remembered one would hide a revocation. */
async function targetOf(source: Source, ask: Ask): Promise<string> {
  if (source.confirmations === 0) return source.blockTag;
  const [answer] = await ask({ method: "eth_getBlockByNumber", params: ["latest", false] });
  const head = headerOf(answer);
  source.freshness.checkAge(head.timestamp);
  const number = head.number - source.confirmations;
  if (number < 0) throw new UnavailableError("chain-head");
  return `0x${number.toString(16)}`;
}

function checkFresh(source: Source, header: Header): void {
  if (source.confirmations === 0) source.freshness.checkAge(header.timestamp);
  if (header.number < source.floor) throw new UnavailableError("stale");
}

/** The program itself never reverts: a node that says so could not run it, which tells nothing about the contract. */
function asFailedProgram(error: unknown): never {
  if (error instanceof UnavailableError && error.boundary === "rpc-reverted")
    throw new UnavailableError("rpc-error", { cause: error });
  throw error;
}

function anchoredOf(answer: unknown, count: number) {
  try {
    return decodeAnchored(bytesOf(answer), count);
  } catch (cause) {
    throw new UnavailableError("rpc-garbage", { cause });
  }
}

function headerOf(value: unknown): Header {
  if (value === null) throw new UnavailableError("chain-head");
  const { success, data } = headerSchema.safeParse(value);
  if (!success) throw new UnavailableError("rpc-garbage");
  const [number, timestamp] = [Number(data.number), Number(data.timestamp)];
  if (!Number.isSafeInteger(number) || !Number.isSafeInteger(timestamp)) throw new UnavailableError("rpc-garbage");
  return { number, timestamp, hash: data.hash, parentHash: data.parentHash };
}

function referenceOf({ number, hash, timestamp }: Header): BlockReference {
  return { number, hash, timestamp };
}

function quantity(value: unknown): bigint {
  const parsed = quantitySchema.safeParse(value);
  if (!parsed.success) throw new UnavailableError("rpc-garbage");
  return BigInt(parsed.data);
}

function bytesOf(value: unknown): Hex {
  const parsed = bytesSchema.safeParse(value);
  if (!parsed.success) throw new UnavailableError("contract-answer");
  return parsed.data as Hex; // matched just now
}
