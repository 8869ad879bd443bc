/** Lists the scheduled operations that were neither executed nor cancelled. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { permissionOf } from "../lib/authority.ts";
import { chainLines, chainOf, shown } from "../lib/change.ts";
import { type CommandResult, runCommand } from "../lib/cli.ts";
import { actionOf, type Governed, openGoverned } from "../lib/governance-input.ts";
import { type Operation, pendingOperations, rangeOf, stateText } from "../lib/operations.ts";
import { windowText } from "../lib/route.ts";
import { decodeCall } from "../lib/solidity-call.ts";

export interface ListArguments {
  readonly target: string | undefined;
  readonly fromBlock: string | undefined;
  readonly json: boolean;
}

export default function governanceList(input: ListArguments, hre: HardhatRuntimeEnvironment): Promise<void> {
  return runCommand(input, async () => list(await openGoverned(hre, input), input.fromBlock));
}

export async function list(governed: Governed, fromBlock?: string): Promise<CommandResult> {
  const { session, authority } = governed;
  const range = await rangeOf(session, fromBlock);
  const pending = await pendingOperations(session, authority, range);
  const operations = await Promise.all(
    pending.map(async (operation) => {
      const { role } = await permissionOf(session, actionOf(governed, operation), operation.caller);
      return { ...operation, role, call: decodeCall(operation.data) };
    }),
  );
  const json = {
    task: "governance list",
    ...chainOf(session),
    authority,
    fromBlock: Number(range.fromBlock),
    toBlock: Number(range.toBlock),
    operations: operations.map(({ call, data, ...operation }) => ({
      ...operation,
      call: { function: call.function, args: call.args, data },
    })),
  };
  const lines = [
    ...chainLines(session),
    `through   AccessManager ${authority}`,
    `blocks    ${range.fromBlock} to ${range.toBlock}`,
    ...(operations.length === 0 ? ["nothing is scheduled"] : operations.flatMap(linesOf)),
  ];
  return { json, text: lines.join("\n") };
}

function linesOf(operation: Operation & { role: string; call: { text: string } }): string[] {
  return [
    "",
    `operation ${operation.id}`,
    `contract  ${operation.target}`,
    `call      ${shown(operation.call.text)}`,
    `scheduled by ${operation.caller} as ${operation.role}`,
    `state     ${stateText(operation)}`,
    `          ${windowText(operation)}`,
  ];
}
