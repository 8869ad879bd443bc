/** Upgrades an app's proxy after proving that its storage is where the new code expects it. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { appAuthKind } from "../lib/proxy-kinds.ts";
import { type UpgradeArguments, upgradeAction } from "../lib/upgrade-action.ts";
import { parseAddress } from "../lib/values.ts";

export default function appUpgrade(
  input: UpgradeArguments & { readonly app: string | undefined },
  hre: HardhatRuntimeEnvironment,
): Promise<void> {
  const address = () => parseAddress(input.app, "the app address", "pass --app ADDRESS: the app id with 0x");
  return upgradeAction(appAuthKind, address, input, hre);
}
