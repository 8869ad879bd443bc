/** How the governance commands tell what they did: the decoded call, who may make it, when, and the transaction. */
import type { TransactionReceipt } from "viem";
import type { Action } from "./authority.ts";
import { type ChainSession, dataOf, rehearse, send } from "./chain-session.ts";
import { chainLines, chainOf, endLines, passageJson, passageLines, shown, transactionOf } from "./change.ts";
import type { CommandResult } from "./cli.ts";
import { durationText } from "./dates.ts";
import { eventsOf } from "./event-log.ts";
import type { Route } from "./route.ts";
import { decodeCall } from "./solidity-call.ts";

export async function carryThrough(
  session: ChainSession,
  task: string,
  step: { action: Action; route: Route; done: string },
  options: { dryRun: boolean },
): Promise<CommandResult> {
  await rehearse(session, step.route.call);
  const receipt = options.dryRun ? null : await send(session, step.route.call);
  return report(session, task, step, receipt);
}

function report(
  session: ChainSession,
  task: string,
  { action, route, done }: { action: Action; route: Route; done: string },
  receipt: TransactionReceipt | null,
): CommandResult {
  const { passage, notes } = route;
  const call = decodeCall(action.data);
  const toSign = receipt === null ? { to: route.call.address, data: dataOf(route.call) } : null;
  const json = {
    task,
    dryRun: receipt === null,
    ...chainOf(session),
    contract: action.target,
    call: { function: call.function, args: call.args, data: call.data },
    governance: passage && passageJson(passage),
    done: receipt === null ? null : done,
    toSign,
    transaction: receipt && transactionOf(receipt),
    events: receipt ? eventsOf(receipt) : [],
  };
  const lines = [
    ...chainLines(session),
    `contract  ${action.target}`,
    `call      ${shown(call.text)}`,
    ...(passage ? passageLines(passage) : []),
    ...(passage && passage.delaySeconds > 0 ? [`delay     ${durationText(passage.delaySeconds)}`] : []),
    ...endLines(receipt, "dry run"),
    ...(toSign ? [`to sign   to ${toSign.to}, data ${toSign.data}`] : []),
    ...(receipt ? [`done      ${done}`] : []),
  ];
  return { json, text: lines.join("\n"), notes };
}
