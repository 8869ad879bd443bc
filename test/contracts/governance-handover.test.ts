import { type AbiFunction, parseEventLogs, toFunctionSelector, toFunctionSignature } from "viem";
import { expect, test } from "vitest";
import { KMS_AUTH_FUNCTIONS, MAXIMUM_DELAY, MINIMUM_DELAYS } from "../../ignition/governance-roles.ts";
import {
  ACCOUNTS,
  ask,
  client,
  DAY,
  deployApp,
  deployTrustDomain,
  handOver,
  kmsAbi,
  managerAbi,
  networkHelpers,
  type Parameters,
  ZERO_ADDRESS,
} from "./governed-domain.ts";

const CURATOR =
  "setKmsInfo setKmsQuote setKmsEventlog setGatewayAppId registerApp setAppImplementation addKmsAggregatedMr addKmsDevice addOsImageHash acceptTcbStatus acceptAdvisory";
const GUARDIAN = "removeKmsAggregatedMr removeKmsDevice removeOsImageHash withdrawTcbStatus withdrawAdvisory pause suspendApp";
const OPERATOR = "unpause reinstateApp";
const FREE_OF_THE_GUARDIAN = "revokeRole renounceRole schedule execute cancel consumeScheduledOp multicall";

const kms = await deployTrustDomain();
const manager = await handOver(kms);
const owned = await deployTrustDomain();
const app = await deployApp();

function mutators(abi: typeof kmsAbi): AbiFunction[] {
  return abi.filter((item): item is AbiFunction => item.type === "function" && !/view|pure/.test(item.stateMutability));
}

function roleOf(name: string): bigint {
  const lists = [CURATOR, "", GUARDIAN, OPERATOR].map((list) => list.split(" ").includes(name));
  return lists.includes(true) ? BigInt(lists.indexOf(true) + 1) : 2n;
}

test.each(mutators(kmsAbi).map((item) => [toFunctionSignature(item), item] as const))("%s has its role", async (_, item) => {
  expect(await ask(manager, "getTargetFunctionRole", [kms.address, toFunctionSelector(item)])).toBe(roleOf(item.name));
});

test("the table names every function that changes something, once, and no other", () => {
  const mapped = Object.values(KMS_AUTH_FUNCTIONS).flat();
  expect(mapped.toSorted()).toEqual(
    mutators(kmsAbi)
      .map((item) => toFunctionSignature(item))
      .toSorted(),
  );
});

test.each(mutators(managerAbi).map((item) => [item.name, item] as const))(
  "the manager's %s can be cancelled by whom it should",
  async (name, item) => {
    const role = FREE_OF_THE_GUARDIAN.split(" ").includes(name) ? 0n : 5n;
    expect(await ask(manager, "getTargetFunctionRole", [manager.address, toFunctionSelector(item)])).toBe(role);
  },
);

test("the manager owns the trust domain, and every role has exactly its holder and its delay", async () => {
  expect(await ask(kms, "owner")).toBe(manager.address);
  expect(await ask(kms, "pendingOwner")).toBe(ZERO_ADDRESS);
  const logs = parseEventLogs({ abi: managerAbi, logs: await client.getLogs({ address: manager.address, fromBlock: 0n }) });
  const granted = logs.filter(({ eventName }) => eventName === "RoleGranted").map(({ args }) => args);
  const expected = [
    [0n, ACCOUNTS.deployer, 0],
    [0n, ACCOUNTS.admin, 7 * DAY],
    [1n, ACCOUNTS.curator, 2 * DAY],
    [2n, ACCOUNTS.upgrader, 7 * DAY],
    [3n, ACCOUNTS.guardian, 0],
    [4n, ACCOUNTS.operator, DAY],
  ] as const;
  expect(granted).toMatchObject(expected.map(([roleId, account, delay]) => ({ roleId, account, delay })));
  for (const [roleId, account, delay] of expected.slice(1)) {
    expect(await ask(manager, "hasRole", [roleId, account])).toEqual([true, delay]);
  }
});

test("the deployer has no role", async () => {
  for (const roleId of [0n, 1n, 2n, 3n, 4n, 5n]) {
    expect(await ask(manager, "hasRole", [roleId, ACCOUNTS.deployer])).toEqual([false, 0]);
  }
});

test("every role is the admin's to grant, and the guardian guards what waits", async () => {
  for (const roleId of [1n, 2n, 3n, 4n, 5n]) {
    expect(await ask(manager, "getRoleAdmin", [roleId])).toBe(0n);
    expect(await ask(manager, "getRoleGuardian", [roleId])).toBe(roleId === 3n ? 0n : 3n);
  }
});

test("after the manager's own five days a new holder waits too, and so does whoever moves a function to another role", async () => {
  await networkHelpers.time.increase(5 * DAY);
  for (const [roleId, delay] of [7, 2, 7, 0, 1].entries()) {
    expect(await ask(manager, "getRoleGrantDelay", [BigInt(roleId)])).toBe(delay * DAY);
  }
  for (const { address } of [kms, manager]) expect(await ask(manager, "getTargetAdminDelay", [address])).toBe(7 * DAY);
});

test("takes longer delays, the admin's following the upgrader's", async () => {
  const slower = await handOver(await deployTrustDomain(), {
    curatorDelay: 3 * DAY,
    upgraderDelay: 14 * DAY,
    operatorDelay: 2 * DAY,
  });
  expect(await ask(slower, "hasRole", [1n, ACCOUNTS.curator])).toEqual([true, 3 * DAY]);
  expect(await ask(slower, "hasRole", [2n, ACCOUNTS.upgrader])).toEqual([true, 14 * DAY]);
  expect(await ask(slower, "hasRole", [4n, ACCOUNTS.operator])).toEqual([true, 2 * DAY]);
  expect(await ask(slower, "hasRole", [0n, ACCOUNTS.admin])).toEqual([true, 14 * DAY]);
});

const { deployer, curator, guardian, admin } = ACCOUNTS;
const range = (roleId: number, minimum: number, received: number | bigint): string =>
  `DelayOutOfRange(${roleId}, ${minimum}, ${MAXIMUM_DELAY}, ${received})`;

const refused: readonly (readonly [string, Parameters, string])[] = [
  ["no curator", { curator: ZERO_ADDRESS }, "ZeroHolder(1)"],
  ["no upgrader", { upgrader: ZERO_ADDRESS }, "ZeroHolder(2)"],
  ["no guardian", { guardian: ZERO_ADDRESS }, "ZeroHolder(3)"],
  ["no operator", { operator: ZERO_ADDRESS }, "ZeroHolder(4)"],
  ["no admin", { admin: ZERO_ADDRESS }, "ZeroHolder(0)"],
  ["an admin who is the deployer", { admin: deployer }, `AdminIsDeployer("${deployer}")`],
  ["a guardian who is the curator", { curator: guardian }, `GuardianHoldsAnotherRole(1, "${guardian}")`],
  ["a guardian who is the upgrader", { upgrader: guardian }, `GuardianHoldsAnotherRole(2, "${guardian}")`],
  ["a guardian who is the operator", { operator: guardian }, `GuardianHoldsAnotherRole(4, "${guardian}")`],
  ["a guardian who is the admin", { guardian: admin }, `GuardianHoldsAnotherRole(0, "${admin}")`],
  ["a trust domain that shall govern itself", { operator: owned.address }, `HolderIsTrustDomain(4, "${owned.address}")`],
  ["a curator who hardly waits", { curatorDelay: DAY - 1 }, range(1, DAY, DAY - 1)],
  ["a curator who waits for ever", { curatorDelay: 90 * DAY + 1 }, range(1, DAY, 90 * DAY + 1)],
  ["an upgrader who hardly waits", { curatorDelay: DAY, upgraderDelay: 2 * DAY - 1 }, range(2, 2 * DAY, 2 * DAY - 1)],
  ["an upgrader faster than the curator", { curatorDelay: 8 * DAY }, range(2, 8 * DAY, 7 * DAY)],
  [
    "a delay that the manager cannot count",
    { upgraderDelay: 2n ** 32n + BigInt(7 * DAY) },
    range(2, 2 * DAY, 2n ** 32n + BigInt(7 * DAY)),
  ],
  ["an operator who hardly waits", { operatorDelay: 3_599 }, range(4, 3_600, 3_599)],
  ["an admin faster than the upgrader", { adminDelay: 7 * DAY - 1 }, range(0, 7 * DAY, 7 * DAY - 1)],
  ["an address without code", { kmsAuth: curator }, `NotATrustDomain("${curator}")`],
  ["an app's contract", { kmsAuth: app }, `NotATrustDomain("${app}")`],
  ["a trust domain of another owner", { kmsAuth: kms.address }, `DeployerIsNotOwner("${deployer}", "${manager.address}")`],
];

test.each(refused)("refuses %s before anything is sent", async (_, parameters, error) => {
  const nonce = await client.getTransactionCount({ address: deployer });
  await expect(handOver(owned, parameters)).rejects.toThrow(error);
  expect(await client.getTransactionCount({ address: deployer })).toBe(nonce);
});

test("takes the shortest delays and the longest", async () => {
  const { curator: curatorDelay, upgrader: upgraderDelay, operator: operatorDelay } = MINIMUM_DELAYS;
  const shortest = await handOver(await deployTrustDomain(), { curatorDelay, upgraderDelay, operatorDelay });
  expect(await ask(shortest, "hasRole", [0n, admin])).toEqual([true, upgraderDelay]);
  const [longest, same] = [MAXIMUM_DELAY, { curatorDelay: MAXIMUM_DELAY, upgraderDelay: MAXIMUM_DELAY }];
  const slowest = await handOver(await deployTrustDomain(), { ...same, operatorDelay: longest, adminDelay: longest });
  expect(await ask(slowest, "hasRole", [4n, ACCOUNTS.operator])).toEqual([true, longest]);
});

test("one account may hold every role but the guardian's", async () => {
  const one = { curator: admin, upgrader: admin, operator: admin, admin };
  const shared = await handOver(await deployTrustDomain(), one);
  expect(await ask(shared, "hasRole", [1n, admin])).toEqual([true, 2 * DAY]);
  expect(await ask(shared, "hasRole", [2n, admin])).toEqual([true, 7 * DAY]);
});
