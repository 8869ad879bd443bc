/** An upgrade from the proxy's proof of layout to the proof that nothing but its implementation changed. */
import { type Abi, type Address, getAddress, getContractAddress, type Hex, isAddressEqual, slice } from "viem";
import { asKmsError } from "../../kms/errors.ts";
import { delayText, isAccessManager, needPermission } from "./authority.ts";
import { type ChainSession, dataOf, onChain } from "./chain-session.ts";
import { carryOut, tell } from "./change.ts";
import { type CommandResult, hinted } from "./cli.ts";
import { kmsAuthAbi } from "./governance-abi.ts";
import { areUpgradesDisabled, type ProxyKind, word } from "./proxy-kinds.ts";
import { needEntry, type ProxyState, readState, type View } from "./proxy-state.ts";
import { needImplementation, needUnchanged, rehearseAnswers, upgradeRefusal } from "./upgrade-checks.ts";

export interface UpgradeInput {
  readonly contract: Address;
  /** Without one, a new implementation is deployed. */
  readonly implementation: Address | undefined;
  readonly knownEntry: Hex | undefined;
  readonly schedule: boolean;
  readonly dryRun: boolean;
}

export interface Code {
  readonly abi: Abi;
  readonly bytecode: Hex;
}

/** Compiled code, read only when it is to be deployed. */
export type LoadCode = () => Promise<Code>;

export async function upgradeProxy(
  session: ChainSession,
  kind: ProxyKind,
  input: UpgradeInput,
  loadCode: LoadCode,
): Promise<CommandResult> {
  const { contract } = input;
  const view = await latest(session);
  const before = await readState(view, kind, contract);
  if (input.knownEntry !== undefined) await needEntry(view, kind, contract, input.knownEntry);
  if (kind.contract === "AppAuth" && areUpgradesDisabled(before.words))
    throw upgradeRefusal(
      "upgrades of this app are permanently disabled",
      "nobody can undo it: only a new app can run other code",
    );
  const ownerSends = await mustOwnerSend(session, input, before);
  if (input.implementation !== undefined)
    return change(session, kind, input, { view, before, implementation: input.implementation, ownerSends });
  if (input.dryRun) return rehearseDeployment(session, kind, input, { before, loadCode });
  const implementation = await deployImplementation(session, await loadCode());
  try {
    const now = await latest(session);
    const current = await readState(now, kind, contract); // others may have changed something while this waited
    return await change(session, kind, input, { view: now, before: current, implementation, ownerSends });
  } catch (cause) {
    const { code, message } = asKmsError(cause);
    if (code === "fault.upgrade") throw cause;
    throw hinted(code, message, `the new implementation is there: run again with --implementation ${implementation}`, { cause });
  }
}

async function latest({ reader }: ChainSession): Promise<View> {
  return { reader, blockNumber: await onChain(() => reader.getBlockNumber({ cacheTime: 0 })) };
}

/** True where a contract owns the proxy that is no access manager: it must send the call. Nothing is deployed in vain for others. */
async function mustOwnerSend(session: ChainSession, input: UpgradeInput, before: ProxyState): Promise<boolean> {
  const owner = getAddress(slice(before.answers["owner()"] ?? word(0n), 12));
  if (isAddressEqual(owner, session.sender)) return false;
  if (await isAccessManager(session, owner)) {
    const data = dataOf(upgradeCall(input.contract, before.implementation));
    const permission = await needPermission(session, { authority: owner, target: input.contract, data });
    if (permission.delaySeconds === 0 || input.schedule) return false;
    throw hinted("denied.delay", `an upgrade waits ${delayText(permission)} as ${permission.role}'s`, "pass --schedule");
  }
  if ((await onChain(() => session.reader.getCode({ address: owner }))) !== undefined) return true;
  throw upgradeRefusal(`only the owner upgrades: need ${owner}, have ${session.sender}`, "send it from the owner's account");
}

/** By the wallet and not by Ignition: an implementation holds no state, so there is nothing to resume, and each is a new contract. */
async function deployImplementation({ reader, wallet }: ChainSession, code: Code): Promise<Address> {
  return onChain(async () => {
    const hash = await wallet.deployContract(code);
    const { contractAddress } = await reader.waitForTransactionReceipt({ hash });
    if (!contractAddress) throw hinted("denied.transaction", `transaction ${hash} created no contract`, "is there enough gas?");
    return getAddress(contractAddress);
  });
}

/** What would be sent after the deployment; the checks that need the new code are not made. */
async function rehearseDeployment(
  session: ChainSession,
  kind: ProxyKind,
  input: UpgradeInput,
  { before, loadCode }: { before: ProxyState; loadCode: LoadCode },
): Promise<CommandResult> {
  const { reader, sender } = session;
  const { bytecode } = await loadCode();
  const implementation = await onChain(async () => {
    await reader.estimateGas({ account: sender, data: bytecode }); // code that is too large fails here
    return getContractAddress({ from: sender, nonce: BigInt(await reader.getTransactionCount({ address: sender })) });
  });
  const notes = [
    "a new implementation is deployed first: its address holds if the sender sends nothing else before",
    ...notesOn(input),
  ];
  const told = tell(
    session,
    describe(kind, input, before, implementation),
    { receipt: null, returned: undefined },
    { dryRun: true },
  );
  return { ...told, notes };
}

async function change(
  session: ChainSession,
  kind: ProxyKind,
  input: UpgradeInput,
  { view, before, implementation, ownerSends }: { view: View; before: ProxyState; implementation: Address; ownerSends: boolean },
): Promise<CommandResult> {
  await needImplementation(view, kind, implementation);
  const step = { implementation, before, knownEntry: input.knownEntry };
  await rehearseAnswers(view, kind, input.contract, step);
  const planned = {
    ...describe(kind, input, before, implementation),
    ...(ownerSends && { noOp: "the owner is a contract: the call is for it to send" }),
    ...(isAddressEqual(before.implementation, implementation) && { noOp: "already upgraded" }),
  };
  const outcome = await carryOut(session, planned, input);
  if (outcome.receipt !== null && !outcome.passage?.operation)
    await needUnchanged(session, kind, input.contract, { ...step, receipt: outcome.receipt });
  const extra = { fixedSlots: String(Object.keys(before.words).length) };
  const told = tell(session, planned, outcome, { dryRun: input.dryRun, extra });
  return { ...told, notes: [...(told.notes ?? []), ...notesOn(input)] };
}

function upgradeCall(address: Address, implementation: Address) {
  return { address, abi: kmsAuthAbi, functionName: "upgradeToAndCall", args: [implementation, "0x"] } as const;
}

function describe(kind: ProxyKind, { contract }: UpgradeInput, before: ProxyState, implementation: Address) {
  return {
    task: kind.contract === "KmsAuth" ? "kms upgrade" : "app upgrade",
    call: upgradeCall(contract, implementation),
    what: "implementation",
    before: getAddress(before.implementation),
    after: implementation,
  };
}

function notesOn({ knownEntry }: UpgradeInput): readonly string[] {
  return knownEntry === undefined ? ["no list was compared: pass --known-entry HASH, a value that you know is listed"] : [];
}
