/** Executes a scheduled operation whose time has come, or at once a call that has no delay. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { type Hex, isAddressEqual } from "viem";
import { needPermission } from "../lib/authority.ts";
import { onChain } from "../lib/chain-session.ts";
import { type CommandResult, hinted, runCommand } from "../lib/cli.ts";
import { durationText } from "../lib/dates.ts";
import {
  actionOf,
  type Governed,
  isRehearsal,
  type OperationArguments,
  openGoverned,
  operationOf,
  parseWanted,
} from "../lib/governance-input.ts";
import { carryThrough } from "../lib/governance-report.ts";
import { needReady } from "../lib/operations.ts";
import { executeCall, immediateRoute, scheduleOf } from "../lib/route.ts";

export interface ExecuteArguments extends OperationArguments {
  readonly dryRun: boolean;
  readonly json: boolean;
}

const task = "governance execute";

export default function governanceExecute(input: ExecuteArguments, hre: HardhatRuntimeEnvironment): Promise<void> {
  return runCommand(input, async () => {
    const wanted = parseWanted(input);
    return execute(await openGoverned(hre, input), wanted, { ...input, dryRun: isRehearsal(input) });
  });
}

export interface ExecuteOptions {
  readonly fromBlock?: string | undefined;
  readonly dryRun: boolean;
}

export async function execute(
  governed: Governed,
  wanted: { id: Hex } | { data: Hex },
  options: ExecuteOptions,
): Promise<CommandResult> {
  if ("data" in wanted) return executeData(governed, wanted.data, options);
  const { session } = governed;
  const operation = await operationOf(governed, wanted, options.fromBlock);
  if (!isAddressEqual(operation.caller, session.sender)) {
    throw hinted(
      "denied.role",
      `operation ${operation.id} was scheduled by ${operation.caller}, and the sender is ${session.sender}`,
      "only the account that scheduled an operation may execute it",
    );
  }
  needReady(operation);
  return executeAction(governed, operation, options);
}

async function executeData(governed: Governed, data: Hex, options: ExecuteOptions): Promise<CommandResult> {
  const { session, target } = governed;
  const action = actionOf(governed, { target, data });
  const permission = await needPermission(session, action);
  const { timepoint, now, id, expiration } = await onChain(() => scheduleOf(session, action, session.sender));
  if (timepoint > now)
    throw hinted(
      "denied.delay",
      `operation ${id} is not ready: executable in ${durationText(timepoint - now)}`,
      "run it again then",
    );
  if (permission.delaySeconds === 0 && timepoint === 0) {
    const route = { ...immediateRoute(action, permission), notes: [`the call has no delay for its ${permission.role}`] };
    return carryThrough(session, task, { action, route, done: "executed at once" }, options);
  }
  return executeAction(governed, { target, data, id, executableAt: timepoint, expiresAt: timepoint + expiration }, options);
}

interface Executable {
  readonly target: Hex;
  readonly data: Hex;
  readonly id: Hex;
  readonly executableAt: number;
  readonly expiresAt: number;
}

async function executeAction(governed: Governed, executable: Executable, options: ExecuteOptions): Promise<CommandResult> {
  const { session } = governed;
  const { id, executableAt, expiresAt } = executable;
  const action = actionOf(governed, executable);
  const { role, delaySeconds } = await needPermission(session, action);
  const operation = executableAt === 0 ? null : { id, executableAt, expiresAt };
  const route = { call: executeCall(action), passage: { authority: action.authority, role, delaySeconds, operation }, notes: [] };
  return carryThrough(session, task, { action, route, done: "executed" }, options);
}
