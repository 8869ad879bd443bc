/** Exchanges one compose hash of an app for another in one step. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import type { Hex } from "viem";
import { type ChainSession, openSession } from "../lib/chain-session.ts";
import { carryOut, tell } from "../lib/change.ts";
import { type CommandResult, hinted, runCommand, usageError } from "../lib/cli.ts";
import { appAuthAbi } from "../lib/governance-abi.ts";
import { app, type OwnerArguments, readNew } from "../lib/owner-change.ts";
import { parseHash } from "../lib/values.ts";

export interface ReplaceComposeArguments extends OwnerArguments {
  readonly oldValue: string;
  readonly newValue: string;
}

export default function appReplaceCompose(input: ReplaceComposeArguments, hre: HardhatRuntimeEnvironment): Promise<void> {
  return runCommand(input, async () => {
    const contract = app.address(input);
    const old = parseHash(input.oldValue, "the old compose hash");
    const next = parseHash(input.newValue, "the new compose hash");
    if (old === next)
      throw usageError("both compose hashes are the same", "first the listed hash, then the one that takes its place");
    return replaceCompose(await openSession(hre), contract, { ...input, old, next });
  });
}

export interface Replacement {
  readonly old: Hex;
  readonly next: Hex;
  readonly dryRun: boolean;
  readonly schedule?: boolean;
}

export async function replaceCompose(session: ChainSession, contract: Hex, input: Replacement): Promise<CommandResult> {
  const { old, next } = input;
  const isListed = (hash: Hex) =>
    readNew(session, { address: contract, abi: appAuthAbi, functionName: "allowedComposeHashes", args: [hash] }, app);
  const [isOldListed, isNextListed] = [await isListed(old), await isListed(next)];
  if (!isOldListed && !isNextListed) {
    throw hinted(
      "denied.transaction",
      `compose hash ${old} is not allowed`,
      `allow the new one: ./run hardhat app allow-compose ${next}`,
    );
  }
  const change = {
    task: "app replace-compose",
    call: { address: contract, abi: appAuthAbi, functionName: "replaceComposeHash", args: [old, next] },
    what: "compose hashes allowed",
    before: { [old]: isOldListed, [next]: isNextListed },
    after: { [old]: false, [next]: true },
    ...(!isOldListed && { noOp: "already replaced" }),
  };
  return tell(session, change, await carryOut(session, change, input), input);
}
