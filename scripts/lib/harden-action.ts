/** Showing and setting the switches of a trust domain or an app. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import type { Hex } from "viem";
import { KmsError } from "../../kms/errors.ts";
import { type ChainSession, openSession } from "./chain-session.ts";
import { chainLines, chainOf } from "./change.ts";
import { type CommandResult, runCommand } from "./cli.ts";
import { hardeningPlan, type Switching, switchesText } from "./hardening.ts";
import { changeAsOwner, type Governable, type OwnerArguments, readNew } from "./owner-change.ts";

export interface Hardenable extends Governable {
  readonly switches: readonly string[];
}

export function hardenAction(task: string, on: Hardenable) {
  return (input: OwnerArguments & Switching, hre: HardhatRuntimeEnvironment): Promise<void> =>
    runCommand(input, async () => {
      const contract = on.address(input);
      hardeningPlan(0n, input, on.switches); // wrong names are refused before the chain is asked
      return harden(await openSession(hre), { task, on, contract }, input);
    });
}

export async function harden(
  session: ChainSession,
  { task, on, contract }: { task: string; on: Hardenable; contract: Hex },
  input: Switching & { dryRun: boolean; schedule?: boolean },
): Promise<CommandResult> {
  const bits = await readNew(session, { address: contract, abi: on.abi, functionName: "hardening" }, on);
  if (typeof bits !== "bigint") throw new KmsError("fault.internal", "hardening() answers no number");
  if (input.on !== undefined || input.off !== undefined) {
    return changeAsOwner(session, { task, on, contract, plan: hardeningPlan(bits, input, on.switches) }, input);
  }
  const hardening = switchesText(bits, on.switches);
  const lines = Object.entries(hardening).map(([name, value]) => `${name.padEnd(15)} ${value ? "on" : "off"}`);
  return {
    json: { task, ...chainOf(session), contract, hardening },
    text: [...chainLines(session), `contract  ${contract}`, ...lines].join("\n"),
  };
}
