/** The way of a call to its contract: straight, or through the AccessManager that owns it, at once or scheduled for later. */
import type { Hex } from "viem";
import { type Action, delayText, findAuthority, needPermission, type Permission } from "./authority.ts";
import { authorityAbi } from "./authority-abi.ts";
import { type ChainSession, type ContractCall, dataOf, onChain, refusalOf } from "./chain-session.ts";
import { hinted, usageError } from "./cli.ts";
import { durationText, timeText } from "./dates.ts";
import { decodeCall, governedAbi } from "./solidity-call.ts";

/** What goes through an AccessManager, for the report. */
export interface Passage {
  readonly authority: Hex;
  readonly role: string;
  readonly delaySeconds: number;
  /** Set for a call that waits. */
  readonly operation: { readonly id: Hex; readonly executableAt: number; readonly expiresAt: number } | null;
}

export interface Route {
  /** What the sender signs. */
  readonly call: ContractCall;
  readonly passage: Passage | null;
  readonly notes: readonly string[];
}

export async function routeOf(session: ChainSession, call: ContractCall, options: { schedule: boolean }): Promise<Route> {
  const target = call.address;
  const authority = await findAuthority(session, target);
  if (authority === null) {
    if (options.schedule)
      throw usageError("there is nothing to wait for: the contract's owner decides alone", "leave --schedule out");
    return { call, passage: null, notes: [] };
  }
  const action = { authority, target, data: dataOf(call) };
  const permission = await needPermission(session, action);
  if (options.schedule) return scheduleRoute(session, action, permission, permission.delaySeconds);
  if (permission.delaySeconds === 0) return immediateRoute(action, permission);
  throw hinted(
    "denied.delay",
    `${call.functionName} waits ${delayText(permission)} as ${permission.role}'s`,
    scheduleHint(session, action),
  );
}

/** A command line has room for short calls only. */
const maxHintCharacters = 600;

function scheduleHint(session: ChainSession, { target, data }: Action): string {
  const { text } = decodeCall(data);
  const command = `./run hardhat governance schedule --call '${text}' --target ${target} --network ${session.network}`;
  const isPlain = command.length <= maxHintCharacters && !text.includes("'");
  return isPlain ? `schedule it: ${command}` : "schedule it: the same command with --schedule";
}

export function immediateRoute(action: Action, { role, delaySeconds }: Permission): Route {
  const passage = { authority: action.authority, role, delaySeconds, operation: null };
  return { call: executeCall(action), passage, notes: [] };
}

export function executeCall({ authority, target, data }: Action): ContractCall {
  return { address: authority, abi: throughAuthority, functionName: "execute", args: [target, data] };
}

/** The errors of the target come up through the AccessManager. */
export const throughAuthority = [...authorityAbi, ...governedAbi.filter(({ type }) => type === "error" || type === "event")];

export async function scheduleRoute(
  session: ChainSession,
  action: Action,
  { role, delaySeconds }: Permission,
  wait: number,
): Promise<Route> {
  const { authority, target, data } = action;
  if (delaySeconds === 0) throw usageError(`the call has no delay for its ${role}: it is made at once`, "leave --schedule out");
  const { id, timepoint, now, expiration } = await onChain(() => scheduleOf(session, action, session.sender));
  if (timepoint > 0) {
    const left = timepoint > now ? `executable in ${durationText(timepoint - now)}` : "executable now";
    throw hinted(
      "denied.already-scheduled",
      `operation ${id} is scheduled already, ${left}`,
      "see ./run hardhat governance list",
    );
  }
  const executableAt = now + wait;
  const when = wait > delaySeconds ? executableAt : 0; // zero: as soon as the delay allows, counted from the block
  const refusal = await refusalOf(session, { from: authority, to: target, data });
  return {
    call: { address: authority, abi: throughAuthority, functionName: "schedule", args: [target, data, when] },
    passage: { authority, role, delaySeconds, operation: { id, executableAt, expiresAt: executableAt + expiration } },
    notes: refusal === null ? [] : [`made now, the contract would refuse the call: ${refusal}`],
  };
}

export interface Schedule {
  readonly id: Hex;
  /** Zero where nothing is scheduled, or where it has expired. */
  readonly timepoint: number;
  /** Seconds of the latest block. */
  readonly now: number;
  readonly expiration: number;
}

export async function scheduleOf(session: ChainSession, { authority, target, data }: Action, caller: Hex): Promise<Schedule> {
  const { reader } = session;
  const read = { address: authority, abi: authorityAbi } as const;
  const id = await reader.readContract({ ...read, functionName: "hashOperation", args: [caller, target, data] });
  const timepoint = await reader.readContract({ ...read, functionName: "getSchedule", args: [id] });
  const expiration = await reader.readContract({ ...read, functionName: "expiration" });
  const { timestamp } = await reader.getBlock();
  return { id, timepoint, now: Number(timestamp), expiration };
}

/** For the report: an operation's window in words. */
export function windowText({ executableAt, expiresAt }: { executableAt: number; expiresAt: number }): string {
  return `executable from ${timeText(executableAt)} to ${timeText(expiresAt)}`;
}
