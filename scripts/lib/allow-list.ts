/** Adding to and removing from the allow-lists of both contracts: one body for eight commands. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import type { Abi, Hex } from "viem";
import { type ChainSession, onChain, openSession } from "./chain-session.ts";
import { carryOut, tell } from "./change.ts";
import { type CommandResult, runCommand, usageError } from "./cli.ts";
import { appAuthAbi, kmsAuthAbi } from "./governance-abi.ts";
import { type ClaimName, fetchClaim } from "./kms-claims.ts";
import { kmsAuthAddress, parseAddress, parseHash } from "./values.ts";

export interface AllowList {
  readonly abi: Abi;
  readonly getter: string;
  readonly add: string;
  readonly remove: string;
  readonly what: string;
  /** The member of the attestation info that holds such a value. */
  readonly claim?: ClaimName;
}

export const kmsMeasurements: AllowList = {
  abi: kmsAuthAbi,
  getter: "kmsAllowedAggregatedMrs",
  add: "addKmsAggregatedMr",
  remove: "removeKmsAggregatedMr",
  what: "aggregated measurement",
  claim: "mr_aggregated",
};
export const kmsDevices: AllowList = {
  abi: kmsAuthAbi,
  getter: "kmsAllowedDeviceIds",
  add: "addKmsDevice",
  remove: "removeKmsDevice",
  what: "KMS device",
  claim: "device_id",
};
export const osImages: AllowList = {
  abi: kmsAuthAbi,
  getter: "allowedOsImages",
  add: "addOsImageHash",
  remove: "removeOsImageHash",
  what: "OS image",
  claim: "os_image_hash",
};
export const composeHashes: AllowList = {
  abi: appAuthAbi,
  getter: "allowedComposeHashes",
  add: "addComposeHash",
  remove: "removeComposeHash",
  what: "compose hash",
};

export interface ListChange {
  readonly task: string;
  readonly list: AllowList;
  readonly allow: boolean;
}

export async function changeList(
  session: ChainSession,
  { task, list, allow }: ListChange,
  input: { contract: Hex; value: Hex; dryRun: boolean; schedule?: boolean; notes?: readonly string[] },
): Promise<CommandResult> {
  const { contract: address, value } = input;
  const before = await onChain(() =>
    session.reader.readContract({ address, abi: list.abi, functionName: list.getter, args: [value] }),
  );
  const change = {
    task,
    call: { address, abi: list.abi, functionName: allow ? list.add : list.remove, args: [value] },
    what: `${list.what} ${value} allowed`,
    before,
    after: allow,
    ...(before === allow && { noOp: allow ? "already allowed" : "already not allowed" }),
    ...(input.notes && { notes: input.notes }),
  };
  return tell(session, change, await carryOut(session, change, input), input);
}

export interface KmsListArguments {
  readonly value: string;
  readonly fromKms: string | undefined;
  readonly kmsAuth: string | undefined;
  readonly schedule: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** The action of a command on one of KmsAuth's lists. */
export function kmsListAction(change: ListChange) {
  return (input: KmsListArguments, hre: HardhatRuntimeEnvironment): Promise<void> =>
    runCommand(input, async () => {
      const contract = kmsAuthAddress(input.kmsAuth);
      const { value, notes } = await chosenValue(change.list, input);
      return changeList(await openSession(hre), change, { ...input, contract, value, notes });
    });
}

export interface AppListArguments {
  readonly value: string;
  readonly app: string | undefined;
  readonly schedule: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** The action of a command on an app's list of compose hashes. */
export function appListAction(change: ListChange) {
  return (input: AppListArguments, hre: HardhatRuntimeEnvironment): Promise<void> =>
    runCommand(input, async () => {
      const contract = parseAddress(input.app, "the app address", "pass --app ADDRESS: the app id with 0x");
      const value = parseHash(input.value, change.list.what);
      return changeList(await openSession(hre), change, { ...input, contract, value });
    });
}

async function chosenValue(list: AllowList, input: KmsListArguments): Promise<{ value: Hex; notes: readonly string[] }> {
  const { value, fromKms } = input;
  if ((value !== "") === (fromKms !== undefined) || list.claim === undefined) {
    throw usageError(
      `need the ${list.what} or --from-kms URL, and not both`,
      "64 hex digits, or the URL of the onboard listener",
    );
  }
  if (fromKms === undefined) return { value: parseHash(value, list.what), notes: [] };
  const claimed = parseHash(await fetchClaim(fromKms, list.claim), list.what);
  return { value: claimed, notes: [`${claimed} is what the KMS says of itself: compare it with your own build`] };
}
