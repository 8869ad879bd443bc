/** Reads of the contract at one block, as one endpoint tells them: one round trip where it agrees with itself, pinned by hash where not. */
import type { Hex } from "viem";
import { anchoredProgram, decodeAnchored, maxProgramBytes } from "./anchored-call.ts";
import type { ChainRpc } from "./chain-rpc.ts";
import { bytesOf, chainIdOf, type Header, headerOf, toQuantity } from "./chain-values.ts";
import type { Freshness } from "./freshness.ts";
import type { RpcCall } from "./rpc-batch.ts";
import { UnavailableError } from "./unavailable.ts";
import { within } from "./within.ts";

/** An app's contract is its owner's code: this bounds what a loop in it costs. The largest legal request needs a third of it. */
const callGas = "0x1000000";

export type BlockTag = "latest" | "safe" | "finalized";

/** Which block is read, and which contract. */
export interface ReadSettings {
  readonly kmsContract: Hex;
  /** Blocks between the head and the block that is read; each read then takes a trip more, which asks for the head. */
  readonly confirmations: number;
  readonly blockTag: BlockTag;
}

export interface Question {
  readonly calls: readonly Hex[];
  /** All calls in one; absent where that is too large for a node. */
  readonly program: Hex | undefined;
  /** The block that an answer must not be behind, as it was when the question was put: a later one must not make a slower one stale. */
  readonly floor: number;
}

export interface Reads {
  readonly chainId: number;
  readonly header: Header;
  /** In the order of the calls. */
  readonly results: readonly Hex[];
  /** The reads themselves named the block. */
  readonly isAnchored: boolean;
}

export interface EndpointReader {
  /** At that block, or at the one that the settings name. What is wrong or too old is no answer, so nothing of it can count. */
  read(
    question: Question,
    at: number | undefined,
    limits: { readonly end: number; readonly signal: AbortSignal },
  ): Promise<Reads>;
}

export interface EndpointReaderSettings extends ReadSettings {
  readonly rpc: ChainRpc;
  readonly freshness: Freshness;
  /** Throws unavailable.chain-id for another chain than the pinned one. */
  checkChain(id: number): void;
}

export function questionOf(kmsContract: Hex, calls: readonly Hex[], floor: number): Question {
  const program = anchoredProgram(kmsContract, calls);
  return { calls, program: program.length / 2 - 1 <= maxProgramBytes ? program : undefined, floor };
}

/**
 * One attempt and at most one more. The first may take half of the time, so that silence leaves the other half. Only a program's
 * answer has a limit, so only that attempt shares its request with others; what repairs it goes alone.
 */
export function createEndpointReader(settings: EndpointReaderSettings): EndpointReader {
  return {
    async read(question, at, { end, signal }) {
      let header: Header | undefined;
      const remaining = () => Math.max(0, end - performance.now());
      const attempt = <T>(ms: number, way: "share" | "batch", work: (trip: Trip) => Promise<T>): Promise<T> =>
        within(ms, signal, (until) => work({ ...settings, question, at, ask: (...calls) => settings.rpc[way](calls, until) }));
      try {
        const outcome = await (question.program === undefined
          ? attempt(remaining() / 2, "batch", readAtHash)
          : attempt(remaining() / 2, "share", readInOneTrip));
        if ("results" in outcome) return outcome;
        header = outcome;
      } catch (error) {
        if (!(error instanceof UnavailableError && error.isPassing) || signal.aborted) throw error;
      }
      return attempt(remaining(), "batch", (trip) => readAtHash(trip, header));
    },
  };
}

interface Trip extends EndpointReaderSettings {
  readonly question: Question;
  readonly at: number | undefined;
  ask(...calls: RpcCall[]): Promise<readonly unknown[]>;
}

/** The reads, or the header alone when the node ran them at another block than the one it named. */
async function readInOneTrip(trip: Trip): Promise<Reads | Header> {
  const { program, calls } = trip.question;
  const target = await targetOf(trip);
  const [chain, head, answer] = await trip
    .ask(
      { method: "eth_chainId", params: [] },
      { method: "eth_getBlockByNumber", params: [target, false] },
      { method: "eth_call", params: [{ data: program, gas: callGas }, target] },
    )
    .catch(asFailedProgram);
  const chainId = chainIdOf(chain);
  trip.checkChain(chainId);
  const header = headerOf(head);
  const anchored = anchoredOf(answer, calls.length);
  if (anchored.chainId !== BigInt(chainId)) throw new UnavailableError("chain-id");
  const isOneBlock =
    anchored.number === BigInt(header.number) &&
    anchored.timestamp === BigInt(header.timestamp) &&
    anchored.parentHash === header.parentHash;
  if (!isOneBlock) return header;
  checkFresh(trip, header);
  if (anchored.codeSize === 0n) throw new UnavailableError("no-contract");
  const results = anchored.results.map((result) => {
    if (result === undefined) throw new UnavailableError("rpc-reverted");
    return result;
  });
  return { chainId, header, results, isAnchored: true };
}

/** Call by call: where the program is too large for one trip, where the node cannot run it, or where it ran at another block. */
async function readAtHash(trip: Trip, known?: Header): Promise<Reads> {
  const { kmsContract, ask, question } = trip;
  const target = known ? known.hash : await targetOf(trip);
  const method = known ? "eth_getBlockByHash" : "eth_getBlockByNumber";
  const [chain, head] = await ask({ method: "eth_chainId", params: [] }, { method, params: [target, false] });
  const chainId = chainIdOf(chain);
  trip.checkChain(chainId);
  const header = headerOf(head);
  checkFresh(trip, header);
  const block = { blockHash: header.hash, requireCanonical: true };
  const answers = await ask(
    ...question.calls.map((data) => ({ method: "eth_call", params: [{ to: kmsContract, data, gas: callGas }, block] })),
  );
  const results = answers.map(bytesOf);
  if (results.every((result) => result === "0x")) throw new UnavailableError("no-contract");
  return { chainId, header, results, isAnchored: false };
}

/** The head is asked for anew each time: a remembered one would hide a revocation. */
async function targetOf(trip: Trip): Promise<string> {
  if (trip.at !== undefined) return toQuantity(trip.at);
  if (trip.confirmations === 0) return trip.blockTag;
  const [answer] = await trip.ask({ method: "eth_getBlockByNumber", params: ["latest", false] });
  const head = headerOf(answer);
  trip.freshness.checkAge(head.timestamp);
  const number = head.number - trip.confirmations;
  if (number < 0) throw new UnavailableError("chain-head");
  return toQuantity(number);
}

/** With confirmations the age is that of the head, which stands behind the block that is read. */
function checkFresh(trip: Trip, header: Header): void {
  if (trip.at !== undefined && header.number !== trip.at) throw new UnavailableError("rpc-garbage");
  if (trip.confirmations === 0) trip.freshness.checkAge(header.timestamp);
  if (header.number < trip.question.floor) throw new UnavailableError("stale");
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
