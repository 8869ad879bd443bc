/** What each role of a governed trust domain can do, when, and who can stop it. */
import { type Hex, zeroHash } from "viem";
import { afterEach, expect, test } from "vitest";
import {
  ACCOUNTS,
  ask,
  type Contract,
  call,
  DAY,
  deployAccount,
  deployKmsImplementation,
  deployTrustDomain,
  handOver,
  managerAbi,
  networkHelpers,
  refusal,
  send,
} from "./governed-domain.ts";

const { deployer, curator, upgrader, guardian, operator, admin, stranger } = ACCOUNTS;
const IMAGE: Hex = `0x${"17".repeat(32)}`;
const ADD_IMAGE = call("addOsImageHash", [IMAGE]);
const UNAUTHORIZED = "AccessManagerUnauthorizedCall";

const kms = await deployTrustDomain();
await send(deployer, kms, "addOsImageHash", [zeroHash.replace("0x00", "0x01")]);
await send(deployer, kms, "addKmsDevice", [IMAGE]);
const app = await deployAccount([]);
const manager = await handOver(kms);
const implementation = await deployKmsImplementation();
const snapshot = await networkHelpers.takeSnapshot();
afterEach(() => snapshot.restore());

const schedule = (from: `0x${string}`, data: Hex, target: Contract = kms) =>
  send(from, manager, "schedule", [target.address, data, 0]);
const execute = (from: `0x${string}`, data: Hex, target: Contract = kms) =>
  send(from, manager, "execute", [target.address, data]);
const refused = (from: `0x${string}`, data: Hex, target: Contract = kms) =>
  refusal(from, manager, "execute", [target.address, data]);
const wait = (seconds: number) => networkHelpers.time.increase(seconds);

const waits: readonly (readonly [string, `0x${string}`, Hex, number])[] = [
  ["an OS image", curator, ADD_IMAGE, 2 * DAY],
  ["a TCB acceptance", curator, call("acceptAdvisory", ["INTEL-SA-00001"]), 2 * DAY],
  ["the gateway", curator, call("setGatewayAppId", ["any"]), 2 * DAY],
  ["an end of the pause", operator, call("unpause"), DAY],
  ["a reinstatement", operator, call("reinstateApp", [app.address]), DAY],
  ["new code", upgrader, call("upgradeToAndCall", [implementation, "0x"]), 7 * DAY],
  ["another owner", upgrader, call("transferOwnership", [stranger]), 7 * DAY],
  ["a batch", upgrader, call("multicall", [[ADD_IMAGE]]), 7 * DAY],
];

test.each(waits)("%s is refused before its delay and done after it, once", async (_, holder, data, delay) => {
  expect(await refused(holder, data)).toBe("AccessManagerNotScheduled");
  await schedule(holder, data);
  await wait(delay - 2); // the next block is a second later, and the one of the simulation another
  expect(await refused(holder, data)).toBe("AccessManagerNotReady");
  await wait(1);
  await execute(holder, data);
  expect(await refused(holder, data)).toBe("AccessManagerNotScheduled");
});

test.each(waits)("%s cannot be asked for by anybody else, nor for an earlier time", async (_, holder, data, delay) => {
  const others = [deployer, curator, upgrader, guardian, operator, admin, stranger].filter((account) => account !== holder);
  for (const other of others) {
    expect(await refused(other, data)).toBe(UNAUTHORIZED);
    expect(await refusal(other, manager, "schedule", [kms.address, data, 0])).toBe(UNAUTHORIZED);
  }
  const early = (await networkHelpers.time.latest()) + delay - 1;
  expect(await refusal(holder, manager, "schedule", [kms.address, data, early])).toBe(UNAUTHORIZED);
});

test.each(waits)("the guardian cancels %s at any time", async (_, holder, data, delay) => {
  await schedule(holder, data);
  await wait(delay);
  await send(guardian, manager, "cancel", [holder, kms.address, data]);
  expect(await refused(holder, data)).toBe("AccessManagerNotScheduled");
});

test("nobody calls the trust domain past its manager", async () => {
  for (const caller of Object.values(ACCOUNTS)) {
    expect(await refusal(caller, kms, "addOsImageHash", [IMAGE])).toBe("OwnableUnauthorizedAccount");
    expect(await refusal(caller, kms, "unpause")).toBe("OwnableUnauthorizedAccount");
    expect(await refusal(caller, kms, "multicall", [[ADD_IMAGE]])).toBe("OwnableUnauthorizedAccount");
    expect(await refusal(caller, kms, "registerApp", [app.address])).toBe("RegistrationClosed");
  }
});

test("the guardian removes, pauses and suspends at once, several in one transaction", async () => {
  const calls = [call("removeKmsDevice", [IMAGE]), call("pause"), call("suspendApp", [app.address])];
  await send(guardian, manager, "multicall", [calls.map((data) => call("execute", [kms.address, data], managerAbi))]);
  expect(await ask(kms, "kmsAllowedDeviceIds", [IMAGE])).toBe(false);
  expect(await ask(kms, "paused")).toBe(true);
  expect(await ask(kms, "suspendedApps", [app.address])).toBe(true);
});

test("a batch smuggles no addition past its delay", async () => {
  const remove = call("removeKmsDevice", [IMAGE]);
  for (const caller of [curator, guardian, operator, admin]) {
    expect(await refused(caller, call("multicall", [[remove, ADD_IMAGE]]))).toBe(UNAUTHORIZED);
  }
  const batch = [call("execute", [kms.address, remove], managerAbi), call("execute", [kms.address, ADD_IMAGE], managerAbi)];
  expect(await refusal(guardian, manager, "multicall", [batch])).toBe(UNAUTHORIZED);
  expect(await refusal(curator, manager, "multicall", [[batch[1]]])).toBe("AccessManagerNotScheduled");
  const both = call("multicall", [[call("schedule", [kms.address, ADD_IMAGE, 0], managerAbi), batch[1]]], managerAbi);
  expect(await refused(curator, both, manager)).toBe(UNAUTHORIZED);
});

test("a removal stands only when what would undo it is cancelled too, since other bytes are another operation", async () => {
  const longer: Hex = `${ADD_IMAGE}00`;
  await schedule(curator, ADD_IMAGE);
  await schedule(curator, longer);
  await send(guardian, manager, "cancel", [curator, kms.address, ADD_IMAGE]);
  await wait(2 * DAY);
  await execute(curator, longer);
  expect(await ask(kms, "allowedOsImages", [IMAGE])).toBe(true);
});

test("an operation that nobody executes within a week of its time is void", async () => {
  await schedule(curator, ADD_IMAGE);
  await wait(9 * DAY);
  expect(await refused(curator, ADD_IMAGE)).toBe("AccessManagerExpired");
});

const grant = call("grantRole", [1n, stranger, 0], managerAbi);
const promote = call("setTargetFunctionRole", [kms.address, ["0x8456cb59"], 2n ** 64n - 1n], managerAbi);

test.each([
  ["a grant", grant],
  ["a function's move to another role", promote],
  ["a shorter delay of his own", call("grantRole", [0n, admin, 0], managerAbi)],
  ["a closed trust domain", call("setTargetClosed", [kms.address, true], managerAbi)],
  ["another guardian", call("setRoleGuardian", [1n, 0n], managerAbi)],
] as const)("%s by the admin waits seven days, and the guardian cancels it", async (_, data) => {
  expect(await refused(admin, data, manager)).toBe("AccessManagerNotScheduled");
  await schedule(admin, data, manager);
  await wait(7 * DAY - 2);
  expect(await refused(admin, data, manager)).toBe("AccessManagerNotReady");
  await send(guardian, manager, "cancel", [admin, manager.address, data]);
  await wait(DAY);
  expect(await refused(admin, data, manager)).toBe("AccessManagerNotScheduled");
});

test("the guardian cannot cancel his own removal, and has nothing after it", async () => {
  const revoke = call("revokeRole", [3n, guardian], managerAbi);
  await schedule(admin, revoke, manager);
  expect(await refusal(guardian, manager, "cancel", [admin, manager.address, revoke])).toBe("AccessManagerUnauthorizedCancel");
  await wait(7 * DAY);
  await execute(admin, revoke, manager);
  expect(await refused(guardian, call("pause"))).toBe(UNAUTHORIZED);
});

test("a curator granted without a delay waits as long as an addition would have, and so does a second admin", async () => {
  const second = call("grantRole", [0n, stranger, 0], managerAbi);
  await schedule(admin, grant, manager);
  await schedule(admin, second, manager);
  await wait(7 * DAY);
  await execute(admin, grant, manager);
  await execute(admin, second, manager);
  expect(await refused(stranger, ADD_IMAGE)).toBe(UNAUTHORIZED);
  await wait(2 * DAY);
  expect(await refused(stranger, ADD_IMAGE)).toBe(undefined);
  expect(await refused(stranger, promote, manager)).toBe(UNAUTHORIZED);
  await wait(5 * DAY);
  expect(await refused(stranger, promote, manager)).toBe("AccessManagerNotScheduled");
});

test("an account of several owners holds a role like any other", async () => {
  const owners = [deployer, admin, stranger] as const;
  const account = await deployAccount(owners);
  const domain = await deployTrustDomain();
  const itsManager = await handOver(domain, { curator: account.address });
  const scheduling = call("schedule", [domain.address, ADD_IMAGE, 0], managerAbi);
  const executing = call("execute", [domain.address, ADD_IMAGE], managerAbi);
  for (const owner of [owners[0], owners[2]]) await send(owner, account, "ask", [itsManager.address, scheduling]);
  await send(owners[0], account, "ask", [itsManager.address, executing]);
  expect(await refusal(owners[1], account, "ask", [itsManager.address, executing])).toBe("0x18cb6b7a");
  await wait(2 * DAY);
  await send(owners[1], account, "ask", [itsManager.address, executing]);
  expect(await ask(domain, "allowedOsImages", [IMAGE])).toBe(true);
});
