/** Cancels a scheduled operation: for whoever scheduled it, the guardian and the admin. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import type { Hex } from "viem";
import { permissionOf } from "../lib/authority.ts";
import { type CommandResult, runCommand } from "../lib/cli.ts";
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
import { stateText } from "../lib/operations.ts";
import { throughAuthority } from "../lib/route.ts";

export interface CancelArguments extends OperationArguments {
  readonly dryRun: boolean;
  readonly json: boolean;
}

export default function governanceCancel(input: CancelArguments, hre: HardhatRuntimeEnvironment): Promise<void> {
  return runCommand(input, async () => {
    const wanted = parseWanted(input);
    return cancel(await openGoverned(hre, input), wanted, { ...input, dryRun: isRehearsal(input) });
  });
}

export async function cancel(
  governed: Governed,
  wanted: { id: Hex } | { data: Hex },
  options: { readonly fromBlock?: string | undefined; readonly dryRun: boolean },
): Promise<CommandResult> {
  const { session, authority } = governed;
  const operation = await operationOf(governed, wanted, options.fromBlock);
  const { id, caller, target, data, executableAt, expiresAt } = operation;
  const action = actionOf(governed, operation);
  const { role, delaySeconds } = await permissionOf(session, action, caller);
  const route = {
    call: { address: authority, abi: throughAuthority, functionName: "cancel", args: [caller, target, data] },
    passage: { authority, role, delaySeconds, operation: { id, executableAt, expiresAt } },
    notes: [`scheduled by ${caller}, ${stateText(operation)}`],
  };
  return carryThrough(session, "governance cancel", { action, route, done: "cancelled" }, options);
}
