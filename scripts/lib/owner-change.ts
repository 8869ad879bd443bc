/** Changes that only an owner makes, of a trust domain or of an app: one body for all of their commands. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import type { Abi, Hex } from "viem";
import { readIfThere } from "./authority.ts";
import { type ChainSession, openSession } from "./chain-session.ts";
import { type Change, carryOut, tell } from "./change.ts";
import { type CommandResult, hinted, runCommand } from "./cli.ts";
import { appAuthAbi, kmsAuthAbi } from "./governance-abi.ts";
import { kmsAuthAddress, parseAddress } from "./values.ts";

/** The contract of a command, and the words for it in messages. */
export interface Governable {
  readonly abi: Abi;
  readonly group: "kms" | "app";
  readonly address: (input: { readonly kmsAuth?: string | undefined; readonly app?: string | undefined }) => Hex;
}

export const trustDomain: Governable = {
  abi: kmsAuthAbi,
  group: "kms",
  address: ({ kmsAuth }) => kmsAuthAddress(kmsAuth),
};
export const app: Governable = {
  abi: appAuthAbi,
  group: "app",
  address: ({ app: id }) => parseAddress(id, "the app address", "pass --app ADDRESS: the app id with 0x"),
};

export interface OwnerArguments {
  readonly kmsAuth?: string | undefined;
  readonly app?: string | undefined;
  readonly schedule: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** One change: which view tells the state, what it should answer afterwards, and the call that gets there. */
export interface Plan {
  readonly getter: string;
  readonly getterArgs?: readonly unknown[];
  readonly functionName: string;
  readonly args?: readonly unknown[];
  readonly what: string;
  readonly after: (before: unknown) => unknown;
  /** What to say when the contract is so already. */
  readonly noOp: string;
  /** How the values are shown; as they are by default. */
  readonly shown?: (value: unknown) => unknown;
  readonly notes?: readonly string[];
}

export async function changeAsOwner(
  session: ChainSession,
  { task, on, contract, plan }: { task: string; on: Governable; contract: Hex; plan: Plan },
  options: { dryRun: boolean; schedule?: boolean },
): Promise<CommandResult> {
  const { getter, getterArgs = [], functionName, args = [], what, notes, shown = (value: unknown) => value } = plan;
  const before = await readNew(session, { address: contract, abi: on.abi, functionName: getter, args: getterArgs }, on);
  const after = plan.after(before);
  const change: Change = {
    task,
    call: { address: contract, abi: on.abi, functionName, args },
    what,
    before: shown(before),
    after: shown(after),
    ...(before === after && { noOp: plan.noOp }),
    ...(notes && { notes }),
  };
  return tell(session, change, await carryOut(session, change, options), options);
}

/** A view that contracts of an older version do not have. */
export async function readNew(
  session: ChainSession,
  read: { address: Hex; abi: Abi; functionName: string; args?: readonly unknown[] },
  { group }: Governable,
): Promise<unknown> {
  const value = await readIfThere<unknown>(session, read);
  if (value !== null) return value;
  throw hinted(
    "malformed.usage",
    `${read.address} does not answer ${read.functionName}: no such contract, or one from before this function`,
    `check the address and the network; older code is upgraded by ./run hardhat ${group} upgrade`,
  );
}

/** The action of a command: the plan is made from its arguments before the chain is touched. */
export function ownerAction<Input extends OwnerArguments>(task: string, on: Governable, planOf: (input: Input) => Plan) {
  return (input: Input, hre: HardhatRuntimeEnvironment): Promise<void> =>
    runCommand(input, async () => {
      const contract = on.address(input);
      const plan = planOf(input);
      return changeAsOwner(await openSession(hre), { task, on, contract, plan }, input);
    });
}
