/** A change of policy from rehearsal to receipt, and how it is told: sender, call, before and after. */
import type { TransactionReceipt } from "viem";
import { type ChainSession, type ContractCall, dataOf, rehearse, send } from "./chain-session.ts";
import type { CommandResult } from "./cli.ts";
import { eventsOf, eventText } from "./event-log.ts";
import { type Passage, routeOf, windowText } from "./route.ts";
import { plain } from "./solidity-call.ts";

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
  /** Set where the contract does not ask who calls. */
  readonly isAnyones?: boolean;
  readonly notes?: readonly string[];
}

export interface Outcome {
  readonly receipt: TransactionReceipt | null;
  /** What the rehearsal returned; undefined where nothing was to do. */
  readonly returned: unknown;
  readonly passage?: Passage | null;
  readonly notes?: readonly string[];
}

export interface ChangeOptions {
  readonly dryRun: boolean;
  /** Schedule a call that has to wait, instead of refusing it. */
  readonly schedule?: boolean;
}

export async function carryOut(session: ChainSession, change: Change, options: ChangeOptions): Promise<Outcome> {
  if (change.noOp !== undefined) return { receipt: null, returned: undefined };
  const direct = { call: change.call, passage: null, notes: [] };
  const route = change.isAnyones ? direct : await routeOf(session, change.call, { schedule: options.schedule ?? false });
  const returned = await rehearse(session, route.call);
  const receipt = options.dryRun ? null : await send(session, route.call);
  return { receipt, returned, passage: route.passage, notes: route.notes };
}

export function tell(
  session: ChainSession,
  change: Change,
  outcome: Outcome,
  options: { dryRun: boolean; extra?: Readonly<Record<string, string | null>> },
): CommandResult {
  const { call, what } = change;
  const [before, after] = [plain(change.before), plain(change.after)];
  const { receipt, passage = null } = outcome;
  const args = call.args.map(plain);
  const json = {
    task: change.task,
    dryRun: options.dryRun,
    ...chainOf(session),
    contract: call.address,
    call: { function: call.functionName, args, data: dataOf(call) },
    change: { what, before, after },
    changed: receipt !== null && !passage?.operation,
    noOp: change.noOp ?? null,
    governance: passage && passageJson(passage),
    transaction: receipt && transactionOf(receipt),
    events: receipt ? eventsOf(receipt) : [],
    ...options.extra,
  };
  const lines = [
    ...chainLines(session),
    `contract  ${call.address}`,
    `call      ${call.functionName}(${args.map(shown).join(", ")})`,
    `change    ${what}: ${shown(before)} → ${shown(after)}`,
    ...(passage ? passageLines(passage) : []),
    ...endLines(receipt, change.noOp ?? "dry run"),
    ...Object.entries(options.extra ?? {}).map(([name, value]) => `${name.padEnd(9)} ${value ?? "-"}`),
  ];
  return { json, text: lines.join("\n"), notes: [...(change.notes ?? []), ...(outcome.notes ?? [])] };
}

export function chainOf({ network, chainId, sender }: ChainSession) {
  return { network, chainId, sender };
}

export function chainLines({ network, chainId, sender }: ChainSession): string[] {
  return [`network   ${network}, chain ${chainId}`, `sender    ${sender}`];
}

export function passageJson({ authority, role, delaySeconds, operation }: Passage) {
  return { authority, role, delaySeconds, operation };
}

export function passageLines({ authority, role, operation }: Passage): string[] {
  return [
    `through   AccessManager ${authority} as ${role}`,
    ...(operation ? [`operation ${operation.id}`, `          ${windowText(operation)}`] : []),
  ];
}

export function transactionOf(receipt: TransactionReceipt) {
  return {
    hash: receipt.transactionHash,
    blockNumber: Number(receipt.blockNumber),
    gasUsed: Number(receipt.gasUsed),
  };
}

export function endLines(receipt: TransactionReceipt | null, whyNot: string): string[] {
  if (receipt === null) return [`not sent  ${whyNot}`];
  const { hash, blockNumber, gasUsed } = transactionOf(receipt);
  const events = eventsOf(receipt).map((event) => `event     ${shown(eventText(event))}`);
  return [`sent      ${hash} in block ${blockNumber}, gas ${gasUsed}`, ...events];
}

const shownCharacters = 200;

export function shown(value: unknown): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length <= shownCharacters ? text : `${text.slice(0, shownCharacters)}… (${text.length} characters)`;
}
