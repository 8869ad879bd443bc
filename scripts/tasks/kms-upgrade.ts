/** Upgrades a KmsAuth proxy after proving that its storage is where the new code expects it. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { kmsAuthKind } from "../lib/proxy-kinds.ts";
import { type UpgradeArguments, upgradeAction } from "../lib/upgrade-action.ts";
import { kmsAuthAddress } from "../lib/values.ts";

export default function kmsUpgrade(
  input: UpgradeArguments & { readonly kmsAuth: string | undefined },
  hre: HardhatRuntimeEnvironment,
): Promise<void> {
  return upgradeAction(kmsAuthKind, () => kmsAuthAddress(input.kmsAuth), input, hre);
}
