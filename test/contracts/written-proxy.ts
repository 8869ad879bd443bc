/** Proxies that no constructor made: the proxy's code at any address, over storage written slot by slot. */
import hre from "hardhat";
import { type Address, type Hex, toHex } from "viem";
import { expect } from "vitest";
import { type Storage, slot } from "./reference-storage.ts";
import { IMPLEMENTATION_SLOT, networkHelpers, padded, storageAt, ZERO_WORD } from "./trust-domain.ts";

const proxyCode = (await hre.artifacts.readArtifact("ERC1967Proxy")).deployedBytecode;

/** Bytes of which no two neighbours are alike and none is zero. */
export const filled = (length: number): Hex =>
  `0x${Array.from({ length }, (_, i) => toHex((i % 255) + 1, { size: 1 }).slice(2)).join("")}`;

/** Slots that no version uses. */
export function gap(first: number, last: number): Storage {
  return Object.fromEntries(Array.from({ length: last - first + 1 }, (_, i) => [slot(first + i), ZERO_WORD]));
}

export async function place({ address }: { address: Address }, implementation: Address, storage: Storage): Promise<void> {
  await networkHelpers.setCode(address, proxyCode);
  for (const [key, value] of Object.entries({ ...storage, [IMPLEMENTATION_SLOT]: padded(implementation) })) {
    await networkHelpers.setStorageAt(address, key, value);
  }
}

export async function expectStorage({ address }: { address: Address }, storage: Storage): Promise<void> {
  const found = await Promise.all(Object.keys(storage).map(async (key) => [key, await storageAt(address, asHex(key))]));
  expect(Object.fromEntries(found)).toEqual(storage);
}

function asHex(text: string): Hex {
  return `0x${text.slice(2)}`;
}
