/** The ABI that the commands carry as text is the contracts' own. */
import hre from "hardhat";
import { type Abi, toEventSelector, toFunctionSelector } from "viem";
import { formatAbiItem } from "viem/utils";
import { expect, test } from "vitest";
import { authorityAbi } from "../../scripts/lib/authority-abi.ts";
import { appAuthAbi, kmsAuthAbi } from "../../scripts/lib/governance-abi.ts";

type Named = Extract<Abi[number], { type: "function" | "event" | "error" }>;
const namedOf = (abi: Abi): Named[] =>
  abi.filter((item): item is Named => item.type === "function" || item.type === "event" || item.type === "error");

/** Everything that bytes on the chain depend on, and the names that a report shows. */
function keyOf(item: Named): string {
  const named = formatAbiItem(item, { includeName: true });
  if (item.type === "function") {
    const answers = item.outputs.map(({ type }) => type).join(",");
    return `function ${named} ${toFunctionSelector(item)} ${item.stateMutability === "view"} (${answers})`;
  }
  if (item.type === "event")
    return `event ${named} ${toEventSelector(item)} ${item.inputs.map(({ indexed }) => indexed === true).join(",")}`;
  return `${item.type} ${named}`;
}

test.each<[string, Abi]>([
  ["KmsAuth", kmsAuthAbi],
  ["AppAuth", appAuthAbi],
  ["AccessManager", authorityAbi],
])("every item for %s is the contract's", async (name, abi) => {
  const artifact = await hre.artifacts.readArtifact(name);
  const known = new Set(namedOf(artifact.abi as Abi).map(keyOf));
  expect(
    namedOf(abi)
      .map(keyOf)
      .filter((key) => !known.has(key)),
  ).toEqual([]);
});

test.each<[string, Abi]>([
  ["KmsAuth", kmsAuthAbi],
  ["AppAuth", appAuthAbi],
])("every change that %s can make is known by its name", async (name, abi) => {
  const artifact = await hre.artifacts.readArtifact(name);
  const known = new Set(namedOf(abi).map(keyOf));
  const changes = namedOf(artifact.abi as Abi).filter(
    (item) => item.type === "function" && !/view|pure/.test(item.stateMutability) && !item.name.startsWith("initialize"),
  );
  expect(changes.map(keyOf).filter((key) => !known.has(key))).toEqual([]);
});
