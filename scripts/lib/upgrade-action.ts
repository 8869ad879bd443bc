/** The action of both upgrade commands: arguments read, contracts compiled when their code is to be deployed. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import type { Hex } from "viem";
import { openSession } from "./chain-session.ts";
import { runCommand } from "./cli.ts";
import type { ProxyKind } from "./proxy-kinds.ts";
import { upgradeProxy } from "./upgrade.ts";
import { parseAddress, parseHash } from "./values.ts";

export interface UpgradeArguments {
  readonly implementation: string | undefined;
  readonly knownEntry: string | undefined;
  readonly schedule: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

export function upgradeAction(
  kind: ProxyKind,
  address: () => Hex,
  input: UpgradeArguments,
  hre: HardhatRuntimeEnvironment,
): Promise<void> {
  return runCommand(input, async () => {
    const { implementation, knownEntry, schedule, dryRun } = input;
    const parsed = {
      contract: address(),
      implementation:
        implementation === undefined
          ? undefined
          : parseAddress(implementation, "the implementation", "pass --implementation ADDRESS"),
      knownEntry: knownEntry === undefined ? undefined : parseHash(knownEntry, "known entry"),
      schedule,
      dryRun,
    };
    return upgradeProxy(await openSession(hre), kind, parsed, async () => {
      await hre.tasks.getTask("build").run({ quiet: true, noTests: true });
      return hre.artifacts.readArtifact(kind.contract);
    });
  });
}
