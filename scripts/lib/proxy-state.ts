/** Reads a proxy as an upgrade finds it, and refuses one whose storage is not where today's code expects it. */
import { BaseError, type Hex, hexToBigInt, type PublicClient, type StateOverride, size, slice, toFunctionSelector } from "viem";
import { onChain } from "./chain-session.ts";
import { usageError } from "./cli.ts";
import {
  type Answers,
  ERC1967_IMPLEMENTATION,
  INITIALIZABLE,
  layoutRefusal,
  listSlot,
  oldGetters,
  type ProxyKind,
  word,
} from "./proxy-kinds.ts";

export interface ProxyState {
  readonly implementation: Hex;
  readonly answers: Answers;
  /** Every fixed slot that was read. */
  readonly words: Readonly<Record<Hex, Hex>>;
}

/** One view of the chain: a block, and code that is not there yet. */
export interface View {
  readonly reader: PublicClient;
  readonly blockNumber: bigint;
  readonly stateOverride?: StateOverride;
}

export async function readState(view: View, kind: ProxyKind, address: Hex): Promise<ProxyState> {
  const implementation = await loadWord(view, address, ERC1967_IMPLEMENTATION);
  if (hexToBigInt(implementation) === 0n) throw await notAProxy(view, address);
  await needKind(view, kind, address, "the proxy");
  const answers = await readAnswers(view, kind, address);
  const slots = kind.fixedSlots(answers);
  const words: Record<Hex, Hex> = { [INITIALIZABLE]: await loadWord(view, address, INITIALIZABLE) };
  const found = await Promise.all(slots.map(({ slot }) => loadWord(view, address, slot)));
  for (const [index, { slot, label, allowed }] of slots.entries()) {
    const value = found[index] ?? "0x";
    if (!allowed.includes(value)) throw layoutRefusal(`slot ${slot} (${label}): need ${allowed.join(" or ")}, have ${value}`);
    words[slot] = value;
  }
  return { implementation: slice(implementation, 12), answers, words };
}

async function notAProxy({ reader, blockNumber }: View, address: Hex): Promise<Error> {
  const code = await onChain(() => reader.getCode({ address, blockNumber }));
  return code === undefined
    ? usageError("there is no such contract at the address", "check the address and the network")
    : layoutRefusal("the contract is not a proxy: its ERC-1967 slot is zero", "give the proxy: what KMS and apps are told");
}

const twoCommands = "check the address: kms upgrade is for KmsAuth, app upgrade for an app";

/** Asks for what tells the layouts apart: of a proxy its current code answers, of an implementation the code to come. */
export async function needKind(view: View, kind: ProxyKind, address: Hex, what: string): Promise<void> {
  for (const getter of oldGetters) {
    if ((await ask(view, address, getter)) !== null)
      throw layoutRefusal(`${what} has the layout from before 3 July 2025: it answers ${getter}`);
  }
  if ((await ask(view, address, kind.otherGetter)) !== null)
    throw layoutRefusal(`${what} is not of the kind ${kind.contract}: it answers ${kind.otherGetter}`, twoCommands);
  if ((await ask(view, address, kind.ownGetter)) === null)
    throw layoutRefusal(`${what} has another layout than ${kind.contract}: it does not answer ${kind.ownGetter}`);
}

export async function readAnswers(view: View, kind: ProxyKind, address: Hex): Promise<Answers> {
  const answers = await Promise.all(kind.getters.map(async (getter) => [getter, await ask(view, address, getter)] as const));
  return Object.fromEntries(answers);
}

/** An entry that its owner knows to be listed: an empty list and one that is elsewhere look the same without it. */
export async function needEntry(view: View, kind: ProxyKind, address: Hex, entry: Hex): Promise<void> {
  let listed = false;
  for (const { index, getter } of kind.lists) {
    const answer = await ask(view, address, getter, entry);
    const stored = await loadWord(view, address, listSlot(index, entry));
    if (answer !== stored) throw layoutRefusal(`${getter} says ${answer ?? "nothing"}, its slot holds ${stored}`);
    listed ||= stored === word(1n);
  }
  if (!listed) throw layoutRefusal(`${entry} is on no list of this ${kind.contract}`, "give a value that is listed now");
}

export function loadWord({ reader, blockNumber }: View, address: Hex, slot: Hex): Promise<Hex> {
  return onChain(async () => word(hexToBigInt((await reader.getStorageAt({ address, slot, blockNumber })) ?? "0x0")));
}

/** What a getter returns; null when it reverts or returns nothing. An argument that is not given is zero. */
export function ask(view: View, to: Hex, getter: string, argument: Hex = word(0n)): Promise<Hex | null> {
  const { reader, blockNumber, stateOverride = [] } = view;
  const data: Hex = `${toFunctionSelector(getter)}${argument.slice(2)}`;
  return onChain(async () => {
    try {
      const answer = (await reader.call({ to, data, blockNumber, stateOverride })).data;
      return answer === undefined || size(answer) < 32 ? null : answer;
    } catch (cause) {
      if (cause instanceof BaseError && cause.walk(isRevert) !== null) return null;
      throw cause;
    }
  });
}

/** Code 3 is a node's own word for a revert. A node that fails in another way has not said that there is no such getter. */
function isRevert(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  return ("code" in error && error.code === 3) || ("name" in error && error.name === "ExecutionRevertedError");
}
