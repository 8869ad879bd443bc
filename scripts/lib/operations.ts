/** The operations of an AccessManager, read from its logs in bounded steps: what waits, what is ready, what has expired. */
import { type Hex, isAddressEqual, type Log, parseEventLogs } from "viem";
import { authorityAbi } from "./authority-abi.ts";
import { type ChainSession, onChain } from "./chain-session.ts";
import { hinted, usageError } from "./cli.ts";
import { durationText } from "./dates.ts";

export type OperationState = "waiting" | "ready" | "expired";

/** A scheduled operation that was neither executed nor cancelled. */
export interface Operation {
  readonly id: Hex;
  readonly nonce: number;
  readonly caller: Hex;
  readonly target: Hex;
  readonly data: Hex;
  readonly state: OperationState;
  readonly executableAt: number;
  readonly expiresAt: number;
  /** Until it is ready, or until it expires. */
  readonly secondsLeft: number;
}

export interface Range {
  readonly fromBlock: bigint;
  readonly toBlock: bigint;
}

/** Four weeks of blocks of twelve seconds: the longest of the usual delays, the week until expiry, and as much again. */
const defaultBlocks = 201_600n;
/** What public endpoints commonly answer for at once; where one gives less, the step is halved. */
const step = 10_000n;
const smallestStep = 16n;

export async function rangeOf(session: ChainSession, fromBlock: string | undefined): Promise<Range> {
  const toBlock = await onChain(() => session.reader.getBlockNumber());
  if (fromBlock === undefined) return { fromBlock: toBlock > defaultBlocks ? toBlock - defaultBlocks : 0n, toBlock };
  if (!/^\d{1,15}$/.test(fromBlock)) throw usageError("--from-block: need a block number", "the block of the hand-over sees all");
  if (BigInt(fromBlock) > toBlock)
    throw usageError(`--from-block: the chain ends at block ${toBlock}`, "is it the right network?");
  return { fromBlock: BigInt(fromBlock), toBlock };
}

const parseLogs = (logs: Log[]) => parseEventLogs({ abi: authorityAbi, logs, strict: true });
type AuthorityLogs = ReturnType<typeof parseLogs>;

export async function pendingOperations(session: ChainSession, authority: Hex, range: Range): Promise<Operation[]> {
  const { logs, now, expiration } = await onChain(async () => ({
    logs: await logsOf(session, authority, range),
    now: Number((await session.reader.getBlock()).timestamp),
    expiration: await session.reader.readContract({ address: authority, abi: authorityAbi, functionName: "expiration" }),
  }));
  const key = (args: { operationId: Hex; nonce: number }) => `${args.operationId} ${args.nonce}`;
  const ended = new Set(logs.flatMap((log) => (isEnd(log) ? [key(log.args)] : [])));
  // An expired operation that was scheduled again is gone: its last nonce alone counts.
  const last = new Map(logs.flatMap((log) => (isStart(log) ? [[log.args.operationId, log.args] as const] : [])));
  return [...last.values()].flatMap((args) => {
    if (ended.has(key(args))) return [];
    const { operationId: id, nonce, schedule, caller, target, data } = args;
    return [{ id, nonce, caller, target, data, ...windowOf(schedule, expiration, now) }];
  });
}

function isStart(log: AuthorityLogs[number]) {
  return log.eventName === "OperationScheduled";
}

function isEnd(log: AuthorityLogs[number]) {
  return log.eventName === "OperationExecuted" || log.eventName === "OperationCanceled";
}

function windowOf(executableAt: number, expiration: number, now: number) {
  const expiresAt = executableAt + expiration;
  const state = now < executableAt ? "waiting" : now < expiresAt ? "ready" : "expired";
  const end = { waiting: executableAt, ready: expiresAt, expired: now }[state];
  return { state, executableAt, expiresAt, secondsLeft: end - now } as const;
}

async function logsOf(session: ChainSession, authority: Hex, range: Range): Promise<AuthorityLogs> {
  const logs: AuthorityLogs = [];
  for (let from = range.fromBlock; from <= range.toBlock; from += step) {
    const last = from + step - 1n;
    logs.push(...(await someLogs(session, authority, { fromBlock: from, toBlock: last < range.toBlock ? last : range.toBlock })));
  }
  return logs;
}

async function someLogs(session: ChainSession, authority: Hex, range: Range): Promise<AuthorityLogs> {
  try {
    return parseLogs(await session.reader.getLogs({ address: authority, ...range }));
  } catch (cause) {
    const blocks = range.toBlock - range.fromBlock + 1n;
    if (blocks <= smallestStep) throw cause;
    const middle = range.fromBlock + blocks / 2n;
    return [
      ...(await someLogs(session, authority, { ...range, toBlock: middle - 1n })),
      ...(await someLogs(session, authority, { ...range, fromBlock: middle })),
    ];
  }
}

/** One operation by its id, the latest where an expired one was scheduled again; or by its call. */
export function findOperation(operations: readonly Operation[], wanted: Hex | { target: Hex; data: Hex }): Operation {
  const found = operations.filter((operation) =>
    typeof wanted === "string"
      ? operation.id === wanted
      : operation.data === wanted.data && isAddressEqual(operation.target, wanted.target),
  );
  const last = found.at(-1);
  if (last === undefined) {
    throw hinted(
      "denied.not-scheduled",
      "no such operation is scheduled",
      "see ./run hardhat governance list; for older blocks pass --from-block",
    );
  }
  if (found.some(({ id }) => id !== last.id))
    throw usageError("several accounts have scheduled this call", "name the operation by its id: ./run hardhat governance list");
  return last;
}

export function stateText({ state, secondsLeft }: Operation): string {
  if (state === "waiting") return `executable in ${durationText(secondsLeft)}`;
  return state === "ready" ? `ready, expires in ${durationText(secondsLeft)}` : "expired: schedule it again";
}

/** Refuses what the AccessManager would refuse, with the time that is left. */
export function needReady(operation: Operation): void {
  const { id, state } = operation;
  if (state === "waiting")
    throw hinted("denied.delay", `operation ${id} is not ready: ${stateText(operation)}`, "run the same command again then");
  if (state === "expired")
    throw hinted("denied.expired", `operation ${id} has expired`, "schedule it again: ./run hardhat governance schedule");
}
