/** What the governance commands are asked to do: a call of a target, or an operation by its id. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { type Hex, isHex, size } from "viem";
import { type Action, needAuthority } from "./authority.ts";
import { type ChainSession, openSession } from "./chain-session.ts";
import { usageError } from "./cli.ts";
import { findOperation, type Operation, pendingOperations, rangeOf } from "./operations.ts";
import { encodeCall } from "./solidity-call.ts";
import { kmsAuthAddress, parseAddress } from "./values.ts";

export interface CallArguments {
  readonly target: string | undefined;
  readonly call: string | undefined;
  readonly data: string | undefined;
  /** An account whose key is elsewhere, as a Safe's: its transaction is shown, and not sent. */
  readonly from: string | undefined;
}

export interface OperationArguments extends CallArguments {
  readonly operation: string;
  readonly fromBlock: string | undefined;
}

export interface Governed {
  readonly session: ChainSession;
  readonly target: Hex;
  readonly authority: Hex;
}

export async function openGoverned(
  hre: HardhatRuntimeEnvironment,
  input: { readonly target: string | undefined; readonly from?: string | undefined },
): Promise<Governed> {
  const target = kmsAuthAddress(input.target, "--target");
  const from = input.from === undefined ? undefined : parseAddress(input.from, "--from", "the account that will make the call");
  const own = await openSession(hre);
  const session = from === undefined ? own : { ...own, sender: from };
  return { session, target, authority: await needAuthority(session, target) };
}

/** Nobody signs for another account. */
export function isRehearsal({ dryRun, from }: { readonly dryRun: boolean; readonly from: string | undefined }): boolean {
  return dryRun || from !== undefined;
}

export function parseCallData({ call, data }: CallArguments): Hex {
  if ((call === undefined) === (data === undefined)) {
    throw usageError("need the call or its data, and not both", "--call 'addOsImageHash(0x…)', or --data 0x…");
  }
  if (call !== undefined) return encodeCall(call);
  if (!isHex(data) || data.length % 2 !== 0 || size(data) < 4)
    throw usageError("--data: need the bytes of a call in hex, 4 at least", "its selector and its arguments, 0x before them");
  return data;
}

/** An id, or the same call that was scheduled. */
export function parseWanted(input: OperationArguments): { id: Hex } | { data: Hex } {
  const { operation, call, data } = input;
  if (operation === "") return { data: parseCallData(input) };
  if (call !== undefined || data !== undefined)
    throw usageError("need an operation or a call, and not both", "leave one of them out");
  if (!/^0x[0-9a-fA-F]{64}$/.test(operation))
    throw usageError(
      `the operation: need 0x and 64 hex digits, have ${operation.length} characters`,
      "its id is in governance list",
    );
  return { id: operation.toLowerCase() as Hex };
}

export async function operationOf(
  { session, target, authority }: Governed,
  wanted: { id: Hex } | { data: Hex },
  fromBlock: string | undefined,
): Promise<Operation> {
  const operations = await pendingOperations(session, authority, await rangeOf(session, fromBlock));
  return findOperation(operations, "id" in wanted ? wanted.id : { target, data: wanted.data });
}

export function actionOf({ authority }: Governed, { target, data }: { target: Hex; data: Hex }): Action {
  return { authority, target, data };
}
