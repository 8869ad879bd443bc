/** Storage of a proxy of the contracts already deployed, slot by slot: what an upgrade finds, written without any of our code. */
import { concat, type Hex, hexToBigInt, keccak256, pad, size, slice, toHex } from "viem";

/** Slot to word; a slot that is not named is zero. */
export type Storage = Readonly<Record<string, Hex>>;

export const INITIALIZABLE: Hex = "0xf0c57e16840df040f15088dc2f81fe391c3923bec73e23a9662efc9c229c6a00";
export const OWNABLE: Hex = "0x9016d09d72d40fdae2fd8ceac6b6234c7706214fd39c1cd1e609a0528c199300";
export const OWNABLE_2_STEP: Hex = "0x237e158222e3e6968b72b9db0d8043aacf074ad9f650f0d1606b4d82ee432c00";

export const slot = (index: number): Hex => toHex(index, { size: 32 });
const YES = slot(1);
const asWord = (address: Hex): Hex => toHex(hexToBigInt(address), { size: 32 });

/** Entries of a `mapping(address or bytes32 => bool)` at the slot. */
export function listed(index: number, keys: readonly Hex[]): Storage {
  return Object.fromEntries(keys.map((key) => [keccak256(concat([pad(key, { size: 32 }), slot(index)])), YES]));
}

/** A `bytes` or `string` at the slot: up to 31 bytes inside it, longer from the hash of the slot on. */
export function dynamic(index: number, data: Hex): Storage {
  const length = size(data);
  if (length < 32) return { [slot(index)]: concat([pad(data, { dir: "right", size: 31 }), toHex(length * 2, { size: 1 })]) };
  const first = hexToBigInt(keccak256(slot(index)));
  const words = Array.from({ length: Math.ceil(length / 32) }, (_, i): [Hex, Hex] => [
    toHex(first + BigInt(i), { size: 32 }),
    pad(slice(data, i * 32, Math.min(length, (i + 1) * 32)), { dir: "right", size: 32 }),
  ]);
  return { [slot(index)]: slot(length * 2 + 1), ...Object.fromEntries(words) };
}

/** What both contracts keep in the namespaces of their bases: initialized once, an owner, perhaps a candidate. */
export function bases(owner: Hex, pendingOwner?: Hex): Storage {
  return {
    [INITIALIZABLE]: YES,
    [OWNABLE]: asWord(owner),
    ...(pendingOwner === undefined ? {} : { [OWNABLE_2_STEP]: asWord(pendingOwner) }),
  };
}

export interface KmsState {
  readonly info: readonly [k256Pubkey: Hex, caPubkey: Hex, quote: Hex, eventlog: Hex];
  readonly gatewayAppId: string;
  readonly apps: readonly Hex[];
  readonly aggregatedMrs: readonly Hex[];
  readonly devices: readonly Hex[];
  readonly osImages: readonly Hex[];
  readonly appImplementation: Hex;
}

export function kmsStorage(state: KmsState): Storage {
  return {
    ...Object.assign({}, ...state.info.map((part, index) => dynamic(index, part))),
    ...dynamic(4, toHex(state.gatewayAppId)),
    ...listed(5, state.apps),
    ...listed(6, state.aggregatedMrs),
    ...listed(7, state.devices),
    ...listed(8, state.osImages),
    [slot(9)]: asWord(state.appImplementation),
  };
}

export interface AppState {
  readonly composeHashes: readonly Hex[];
  readonly devices: readonly Hex[];
  readonly upgradesDisabled: boolean;
  readonly allowAnyDevice: boolean;
  /** Apps from before February 2026 have no such rule: their slot is zero. */
  readonly requireTcbUpToDate: boolean;
}

export function appStorage(state: AppState): Storage {
  return {
    ...listed(0, state.composeHashes),
    // two booleans share the slot, the first one in the lowest byte
    [slot(1)]: slot((state.upgradesDisabled ? 1 : 0) + (state.allowAnyDevice ? 0x100 : 0)),
    ...listed(2, state.devices),
    [slot(3)]: slot(state.requireTcbUpToDate ? 1 : 0),
  };
}
