/** Compares the compiled contracts with the deployed interface: selectors, topics, errors, ERC-165 ids, audit tags and storage. */
import { readFileSync } from "node:fs";
import hre from "hardhat";
import { type Abi, type Hex, keccak256, size, toEventSelector, toFunctionSelector, toHex } from "viem";
import { expect, test } from "vitest";
import { z } from "zod";
import { ADDED, ERRORS, EVENTS, FUNCTIONS, NAMESPACES, SLOTS, TAGS } from "./deployed-interface.ts";
import { appAbi, appImplementation, ask, client, IMPLEMENTATION_SLOT, kms, kmsAbi, kmsImplementation } from "./trust-domain.ts";

const contracts: readonly (readonly ["KmsAuth" | "AppAuth", Abi])[] = [
  ["KmsAuth", kmsAbi],
  ["AppAuth", appAbi],
];
const app = { address: appImplementation, abi: appAbi };

function ofType<T extends "function" | "event" | "error">(abi: Abi, type: T) {
  return abi.filter((item): item is Extract<Abi[number], { type: T }> => item.type === type);
}

test.each(contracts)("%s has every deployed function under its selector, and no other but the named additions", (name, abi) => {
  const ours = ofType(abi, "function").map((item) => `${toFunctionSelector(item).slice(2)} ${item.name} ${item.stateMutability}`);
  const deployed: readonly string[] = [...FUNCTIONS.both, ...FUNCTIONS[name]];
  expect(ours).toEqual(expect.arrayContaining([...deployed]));
  const added = ours.filter((item) => !deployed.includes(item)).map((item) => item.split(" ")[1]);
  expect(added.toSorted()).toEqual([...ADDED.functions.both, ...ADDED.functions[name]].toSorted());
});

test.each(contracts)(
  "%s has every deployed event under its topic, with the same indexed members, and no other but the named additions",
  (name, abi) => {
    const ours = ofType(abi, "event").map((item) => {
      const indexed = item.inputs.filter((input) => input.indexed).map((input) => input.name);
      return `${toEventSelector(item)} ${item.name}(${indexed.join()})`;
    });
    const deployed: readonly string[] = [...EVENTS.both, ...EVENTS[name]];
    expect(ours).toEqual(expect.arrayContaining([...deployed]));
    const added = ours.filter((item) => !deployed.includes(item)).map((item) => item.replace(/^.* (.*)\(.*$/, "$1"));
    expect(new Set(added)).toEqual(new Set([...ADDED.events.both, ...ADDED.events[name]]));
  },
);

test.each(contracts)("%s reverts with the deployed custom errors", (_name, abi) => {
  const ours = ofType(abi, "error").map((item) => {
    const signature = `${item.name}(${item.inputs.map((input) => input.type).join()})`;
    return `${keccak256(toHex(signature)).slice(2, 10)} ${signature}`;
  });
  expect(ours).toEqual(expect.arrayContaining([...ERRORS]));
});

test("kmsInfo answers four separate values and takes one tuple", () => {
  const outputs = ofType(kmsAbi, "function").find((item) => item.name === "kmsInfo")?.outputs;
  expect(outputs?.map((output) => `${output.type} ${output.name}`)).toEqual([
    "bytes k256Pubkey",
    "bytes caPubkey",
    "bytes quote",
    "bytes eventlog",
  ]);
});

test.each(TAGS)("the audit tag %s hashes to the deployed value", (name, hash) => {
  expect(keccak256(toHex(name))).toBe(hash);
});

// A13 K10
test.each([
  ["0x01ffc9a7", true, true],
  ["0x1e079198", true, true],
  ["0x8fd37527", false, true],
  ["0xffffffff", false, false],
  ["0x12345678", false, false],
] as const)("ERC-165 id %s: KmsAuth says %s, AppAuth says %s", async (id, kmsSays, appSays) => {
  expect(await ask(kms, "supportsInterface", [id])).toBe(kmsSays);
  expect(await ask(app, "supportsInterface", [id])).toBe(appSays);
});

const layoutSchema = z.object({
  storage: z.array(z.object({ label: z.string(), slot: z.string(), offset: z.number(), type: z.string() })),
  types: z.record(z.string(), z.object({ label: z.string() })).nullable(), // null for an interface
});
const outputSchema = z.object({
  output: z.object({
    contracts: z.record(z.string(), z.record(z.string(), z.object({ storageLayout: layoutSchema.optional() }))),
  }),
});

test.each(contracts)("%s keeps the deployed storage slots, offsets, types and gap", async (name) => {
  const id = await hre.artifacts.getBuildInfoId(name);
  const path = id === undefined ? undefined : await hre.artifacts.getBuildInfoOutputPath(id);
  if (path === undefined) throw new Error(`no build info for ${name}`);
  const { output } = outputSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  const layout = output.contracts[`project/contracts/${name}.sol`]?.[name]?.storageLayout;
  const ours = layout?.storage.map(
    ({ slot, offset, label, type }) => `${slot}+${offset} ${label} ${layout.types?.[type]?.label}`,
  );
  expect(ours).toEqual(SLOTS[name]);
});

test.each(NAMESPACES)("the namespace %s is at the slot that deployed proxies use", (name, slot) => {
  const inner = BigInt(keccak256(toHex(name))) - 1n;
  const outer = BigInt(keccak256(toHex(inner, { size: 32 }))) & ~0xffn;
  const expected: Hex = toHex(outer, { size: 32 });
  expect(expected).toBe(slot);
});

test.each([
  ["KmsAuth", kmsImplementation, kmsAbi],
  ["AppAuth", appImplementation, appAbi],
] as const)("the %s implementation fits the code size limit and answers the upgrade interface", async (_name, address, abi) => {
  expect(size((await client.getCode({ address })) ?? "0x")).toBeLessThan(24_576);
  expect(await ask({ address, abi }, "UPGRADE_INTERFACE_VERSION")).toBe("5.0.0");
  expect(await ask({ address, abi }, "proxiableUUID")).toBe(IMPLEMENTATION_SLOT);
});
