/** A change of policy from rehearsal to receipt, and how it is told: sender, call, before and after. */
import type { TransactionReceipt } from "viem";
import { type ChainSession, type ContractCall, dataOf, rehearse, send } from "./chain-session.ts";
import type { CommandResult } from "./cli.ts";

export interface Change {
  /** The words of the command line, as in `kms add-mr`. */
  readonly task: string;
  readonly call: ContractCall;
  /** What the call changes, decoded. Values go into JSON as they are. */
  readonly what: string;
  readonly before: unknown;
  readonly after: unknown;
  /** Set when the chain is already so: nothing is sent. */
  readonly noOp?: string;
  readonly notes?: readonly string[];
}

export interface Outcome {
  readonly receipt: TransactionReceipt | null;
  /** What the rehearsal returned; undefined where nothing was to do. */
  readonly returned: unknown;
}

export async function carryOut(session: ChainSession, change: Change, options: { dryRun: boolean }): Promise<Outcome> {
  if (change.noOp !== undefined) return { receipt: null, returned: undefined };
  const returned = await rehearse(session, change.call);
  return { receipt: options.dryRun ? null : await send(session, change.call), returned };
}

export function tell(
  session: ChainSession,
  change: Change,
  outcome: Outcome,
  options: { dryRun: boolean; extra?: Readonly<Record<string, string | null>> },
): CommandResult {
  const { call, what, before, after } = change;
  const { receipt } = outcome;
  const transaction = receipt && {
    hash: receipt.transactionHash,
    blockNumber: Number(receipt.blockNumber),
    gasUsed: Number(receipt.gasUsed),
  };
  const json = {
    task: change.task,
    dryRun: options.dryRun,
    network: session.network,
    chainId: session.chainId,
    contract: call.address,
    sender: session.sender,
    call: { function: call.functionName, args: call.args, data: dataOf(call) },
    change: { what, before, after },
    changed: receipt !== null,
    noOp: change.noOp ?? null,
    transaction,
    ...options.extra,
  };
  const end = transaction
    ? `sent      ${transaction.hash} in block ${transaction.blockNumber}, gas ${transaction.gasUsed}`
    : `not sent  ${change.noOp ?? "dry run"}`;
  const lines = [
    `network   ${session.network}, chain ${session.chainId}`,
    `contract  ${call.address}`,
    `sender    ${session.sender}`,
    `call      ${call.functionName}(${call.args.map(shown).join(", ")})`,
    `change    ${what}: ${shown(before)} → ${shown(after)}`,
    end,
    ...Object.entries(options.extra ?? {}).map(([name, value]) => `${name.padEnd(9)} ${value ?? "-"}`),
  ];
  return { json, text: lines.join("\n"), ...(change.notes && { notes: change.notes }) };
}

const shownCharacters = 200;

function shown(value: unknown): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length <= shownCharacters ? text : `${text.slice(0, shownCharacters)}… (${text.length} characters)`;
}
