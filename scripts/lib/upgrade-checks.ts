/** The checks of an upgrade: of the code to come, of that code over the proxy's storage, and of everything once it is there. */
import { type Address, getAddress, type Hex, hexToBigInt, isAddressEqual, type TransactionReceipt } from "viem";
import { asKmsError, type KmsError } from "../../kms/errors.ts";
import type { ChainSession } from "./chain-session.ts";
import { hinted } from "./cli.ts";
import { type Answers, ERC1967_IMPLEMENTATION, INITIALIZABLE, type ProxyKind, word } from "./proxy-kinds.ts";
import { ask, loadWord, needEntry, needKind, type ProxyState, readAnswers, readState, type View } from "./proxy-state.ts";

/** From what, to what. */
interface Step {
  readonly implementation: Address;
  readonly before: ProxyState;
  readonly knownEntry: Hex | undefined;
}

export function upgradeRefusal(message: string, hint: string): KmsError {
  return hinted("denied.upgrade", message, hint);
}

export async function needImplementation(view: View, kind: ProxyKind, address: Address): Promise<void> {
  const uuid = await ask(view, address, "proxiableUUID()");
  if (uuid !== ERC1967_IMPLEMENTATION)
    throw upgradeRefusal(
      `${address} is no implementation: need proxiableUUID ${ERC1967_IMPLEMENTATION}, have ${uuid ?? "no answer"}`,
      checkAddress,
    );
  await needKind(view, kind, address, "the implementation");
  const version = hexToBigInt(await loadWord(view, address, INITIALIZABLE));
  if (version !== 2n ** 64n - 1n)
    throw upgradeRefusal(`the initializers of ${address} are not locked: need version 2^64 - 1, have ${version}`, checkAddress);
}

const checkAddress = "is it the address of the implementation, and not of a proxy?";

/** Asks the new code over the proxy's storage before it is there: what it would answer must be what the old code answers. */
export async function rehearseAnswers(
  view: View,
  kind: ProxyKind,
  address: Address,
  { implementation, before, knownEntry }: Step,
): Promise<void> {
  const stateDiff = [{ slot: ERC1967_IMPLEMENTATION, value: word(hexToBigInt(implementation)) }];
  const upgraded = { ...view, stateOverride: [{ address, stateDiff }] };
  const answers = await readAnswers(upgraded, kind, address);
  const slots = kind.fixedSlots(answers).filter(({ slot, allowed }) => !allowed.includes(before.words[slot] ?? "0x"));
  const changed = [...changedAnswers(before.answers, answers), ...slots.map(({ label }) => label)];
  if (changed.length > 0)
    throw upgradeRefusal(`the new code would answer otherwise: ${changed.join(", ")}`, "it has another layout");
  if (knownEntry !== undefined) await needEntry(upgraded, kind, address, knownEntry);
}

/** A getter that is new may say anything, as the slots say it too; one that goes may only have said zero. */
function changedAnswers(before: Answers, after: Answers): readonly string[] {
  return Object.keys(before).filter((getter) => {
    const [old, now] = [before[getter] ?? null, after[getter] ?? null];
    return old !== null && old !== now && !(now === null && hexToBigInt(old) === 0n);
  });
}

/** Reads everything again in the block of the upgrade. */
export async function needUnchanged(
  { reader }: ChainSession,
  kind: ProxyKind,
  contract: Address,
  { implementation, before, knownEntry, receipt }: Step & { readonly receipt: TransactionReceipt },
): Promise<void> {
  const told = `transaction ${receipt.transactionHash} upgraded the proxy, but`;
  const hint = `compare with other transactions of that time; back: --implementation ${getAddress(before.implementation)}`;
  const view = { reader, blockNumber: receipt.blockNumber };
  try {
    const after = await readState(view, kind, contract);
    const words = new Map(Object.entries(after.words));
    const slots = Object.entries(before.words).filter(([slot, value]) => words.get(slot) !== value);
    const changed = [...changedAnswers(before.answers, after.answers), ...slots.map(([slot]) => `slot ${slot}`)];
    if (!isAddressEqual(after.implementation, implementation)) changed.push("the implementation is another");
    if (changed.length > 0) throw hinted("fault.upgrade", `these changed with it: ${changed.join(", ")}`, hint);
    if (knownEntry !== undefined) await needEntry(view, kind, contract, knownEntry);
  } catch (cause) {
    const { family, code, message } = asKmsError(cause);
    throw hinted(family === "unavailable" ? code : "fault.upgrade", `${told} ${message}`, hint, { cause });
  }
}
