/** The upgrade commands over real code: today's layouts are taken, every older one is refused, and nothing but the code changes. */
import hre from "hardhat";
import { type Address, encodeFunctionData, getAddress, type Hex, InternalRpcError, toHex } from "viem";
import { beforeEach, describe, expect, test } from "vitest";
import { utf8 } from "../../kms/bytes.ts";
import { parseBootstrapInfo } from "../../scripts/lib/bootstrap-info.ts";
import { appAuthKind, kmsAuthKind, type ProxyKind } from "../../scripts/lib/proxy-kinds.ts";
import { toKmsInfo } from "../../scripts/lib/registration.ts";
import { type UpgradeInput, upgradeProxy } from "../../scripts/lib/upgrade.ts";
import { makeBootstrapFile } from "../scripts/support/bootstrap-file.ts";
import { appStorage, bases, dynamic, kmsStorage, listed, type Storage, slot } from "./reference-storage.ts";
import {
  addressOf,
  appImplementation,
  appOwner,
  ask,
  BOOT_INFO,
  client,
  deployImplementation,
  deployProxy,
  IMPLEMENTATION_SLOT,
  kmsAbi,
  kmsImplementation,
  networkHelpers,
  owner,
  padded,
  send,
  storageAt,
  stranger,
  walletOf,
  ZERO_WORD,
} from "./trust-domain.ts";
import { expectStorage, filled, gap, place } from "./written-proxy.ts";

const { deviceId: DEVICE, composeHash: HASH, osImageHash: IMAGE, mrAggregated: MR } = BOOT_INFO;
const code = async (name: string): Promise<Address> => (await deployImplementation(name)).address;
const [kms, app, nextKms, nextApp, kmsOfJuly3, appOfJuly] = [
  addressOf("written kms"),
  addressOf("written app"),
  await code("KmsAuth"),
  await code("AppAuth"),
  await code("KmsOfJuly3rd2025"),
  await code("AppOfJuly2025"),
];
const sessionOf = (sender: Address) => ({
  reader: client,
  wallet: walletOf(sender),
  sender,
  network: "in-process",
  chainId: 31_337,
});
const loadCode = (kind: ProxyKind) => () => hre.artifacts.readArtifact(kind.contract);

const state = (evidenceBytes: number, gatewayAppId: string) =>
  kmsStorage({
    info: [filled(33), filled(91), filled(evidenceBytes), filled(31)],
    gatewayAppId,
    apps: [app],
    aggregatedMrs: [MR],
    devices: [DEVICE],
    osImages: [IMAGE],
    appImplementation,
  });
const kmsStored: Storage = { ...bases(owner), ...state(5000, "gateway") };
const appFlags = { upgradesDisabled: false, allowAnyDevice: true, requireTcbUpToDate: false };
const appStored: Storage = { ...bases(owner), ...appStorage({ composeHashes: [HASH], devices: [DEVICE], ...appFlags }) };

type Options = Partial<UpgradeInput> & { sender?: Address };
const upgrade = (kind: ProxyKind, { sender = owner, ...input }: Options) =>
  upgradeProxy(
    sessionOf(sender),
    kind,
    {
      contract: kind === kmsAuthKind ? kms : app,
      implementation: kind === kmsAuthKind ? nextKms : nextApp,
      knownEntry: undefined,
      schedule: false,
      dryRun: false,
      ...input,
    },
    loadCode(kind),
  );
const refused = (kind: ProxyKind, options: Options, code: string, message: string | RegExp) =>
  expect(upgrade(kind, options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });

const empty = await networkHelpers.takeSnapshot();
beforeEach(() => empty.restore());

describe("today's layouts", () => {
  const pendingOwner = bases(owner, stranger);
  test.each([
    ["our KmsAuth", kmsAuthKind, kmsImplementation, kmsStored, MR],
    [
      "our KmsAuth with a staged owner and a long gateway id",
      kmsAuthKind,
      kmsImplementation,
      { ...pendingOwner, ...state(64, filled(40)) },
      IMAGE,
    ],
    ["an empty KmsAuth", kmsAuthKind, kmsImplementation, bases(owner), undefined],
    ["a KmsAuth of 3 July 2025", kmsAuthKind, kmsOfJuly3, kmsStored, DEVICE],
    ["our AppAuth", appAuthKind, appImplementation, appStored, DEVICE],
    ["an AppAuth from before the TCB rule", appAuthKind, appOfJuly, appStored, HASH],
  ] as const)("%s is upgraded, and only its implementation changes", async (_name, kind, implementation, stored, knownEntry) => {
    const contract = kind === kmsAuthKind ? kms : app;
    await place({ address: contract }, implementation, stored);
    const next = kind === kmsAuthKind ? nextKms : nextApp;
    const result = await upgrade(kind, { knownEntry });
    expect(result.json).toMatchObject({ changed: true, change: { before: implementation, after: next }, contract });
    expect(result.notes).toHaveLength(knownEntry === undefined ? 1 : 0);
    await expectStorage(
      { address: contract },
      { ...stored, ...(kind === kmsAuthKind ? gap(10, 59) : gap(4, 52)), [IMPLEMENTATION_SLOT]: padded(next) },
    );
    expect((await upgrade(kind, { knownEntry })).json).toMatchObject({ noOp: "already upgraded", changed: false });
  });

  test("a strict KmsAuth, whose evidence is kept as the code of contracts", async () => {
    const args = [owner, appImplementation];
    const initData = encodeFunctionData({ abi: kmsAbi, functionName: "initializeStrict", args });
    const contract = (await deployProxy(kmsImplementation, initData)).address;
    const info = toKmsInfo(parseBootstrapInfo(utf8(JSON.stringify(makeBootstrapFile()))));
    await send(owner, { address: contract, abi: kmsAbi }, "setKmsInfo", [info]);
    expect(await storageAt(contract, 2), "the quote's slot").toBe(ZERO_WORD);
    expect((await upgrade(kmsAuthKind, { contract })).json).toMatchObject({ changed: true, change: { after: nextKms } });
    expect(await ask({ address: contract, abi: kmsAbi }, "kmsInfo")).toEqual(Object.values(info));
  });

  test("a rehearsal sends nothing, with and without an implementation, and names the call", async () => {
    await place({ address: kms }, kmsImplementation, kmsStored);
    const nonce = await client.getTransactionCount({ address: owner });
    const given = await upgrade(kmsAuthKind, { dryRun: true });
    expect(given.json).toMatchObject({
      changed: false,
      dryRun: true,
      call: { function: "upgradeToAndCall", args: [nextKms, "0x"] },
    });
    const deploying = await upgrade(kmsAuthKind, { dryRun: true, implementation: undefined });
    expect(await client.getTransactionCount({ address: owner })).toBe(nonce);
    const sent = await upgrade(kmsAuthKind, { implementation: undefined });
    expect(sent.json).toMatchObject({ changed: true, change: { after: Object(deploying.json).change.after } });
    expect(await storageAt(kms, IMPLEMENTATION_SLOT)).toBe(padded(Object(deploying.json).change.after));
  });
});

const layout = "denied.upgrade-layout";
const oldKms: Storage = { ...bases(owner), ...dynamic(4, toHex("gateway")) };

describe("older layouts are refused", () => {
  test.each([
    ["of January 2025, no proxy", kmsAuthKind, "KmsOfJanuary2025", "not a proxy: its ERC-1967 slot is zero"],
    ["of February 2025", kmsAuthKind, "KmsOfFebruary2025", /before 3 July 2025: it answers apps\(address\)/],
    ["of May 2025", kmsAuthKind, "KmsOfMay2025", /it answers nextAppSequence\(address\)/],
    ["of 2 July 2025", kmsAuthKind, "KmsOfJuly2nd2025", /does not answer registeredApps\(address\)/],
    ["of an app that keeps its id", appAuthKind, "AppOfFebruary2025", /it answers appId\(\)/],
    ["of today under slots that are shifted", kmsAuthKind, "ShiftedKms", /^slot 0x0{63}3 \(kmsInfo.eventlog\)/],
    ["of an app, called a KMS", kmsAuthKind, "AppOfJuly2025", /not of the kind KmsAuth/],
    ["of a KMS, called an app", appAuthKind, "KmsOfJuly3rd2025", /not of the kind AppAuth/],
  ] as const)("the one %s", async (_name, kind, name, message) => {
    const older = await code(name);
    const contract = kind === kmsAuthKind ? kms : app;
    await place({ address: contract }, older, oldKms);
    await refused(kind, { contract: name === "KmsOfJanuary2025" ? older : contract }, layout, message);
  });

  // Upgraded by a tool that did not look: the code is today's, what it reads was written by another.
  const implementationAt = (index: number): Storage => ({ [slot(index)]: padded(appImplementation) });
  test.each([
    ["2 July 2025", kmsAuthKind, { ...oldKms, ...listed(5, [MR]), ...implementationAt(8) }, "allowedOsImages"],
    ["May 2025", kmsAuthKind, { ...oldKms, ...listed(6, [MR]), ...implementationAt(10) }, "gap"],
    [
      "an app that kept its id",
      appAuthKind,
      { ...bases(owner), [slot(0)]: padded(app), [slot(2)]: slot(1) },
      "allowedComposeHashes",
    ],
    ["an app with flags elsewhere", appAuthKind, { ...bases(owner), [slot(2)]: slot(0x100) }, "allowedDeviceIds"],
    [
      "an app with a third flag",
      appAuthKind,
      { ...bases(owner), [slot(1)]: slot(0x10000) },
      "upgradesDisabled and allowAnyDevice",
    ],
  ] as const)("today's code over the storage of %s", async (_name, kind, stored, label) => {
    const [contract, implementation] = kind === kmsAuthKind ? [kms, kmsImplementation] : [app, appImplementation];
    await place({ address: contract }, implementation, stored);
    await refused(kind, {}, layout, `\\(${label}\\): need`);
  });

  test("a value that should be listed and is not, or an address without code", async () => {
    await place({ address: kms }, kmsImplementation, kmsStored);
    await refused(kmsAuthKind, { knownEntry: HASH }, layout, /is on no list/);
    await refused(kmsAuthKind, { contract: addressOf("nobody") }, "malformed.usage", /no such contract/);
  });
});

describe("a new implementation is refused", () => {
  test.each([
    ["without code", async () => addressOf("nobody"), "denied.upgrade", /need proxiableUUID/],
    ["that is a proxy", async () => kms, "denied.upgrade", /need proxiableUUID .* have no answer/],
    ["with open initializers", async () => kmsOfJuly3, "denied.upgrade", /not locked: need version 2\^64 - 1, have 0/],
    ["of the other kind", async () => nextApp, layout, /^the implementation is not of the kind KmsAuth/],
    ["of an older layout", () => code("KmsOfFebruary2025"), layout, /^the implementation has the layout from before/],
    [
      "that reads the storage otherwise",
      () => code("ShiftedKms"),
      "denied.upgrade",
      /answer otherwise: kmsInfo\(\), gatewayAppId\(\)/,
    ],
  ] as const)("%s", async (_name, next, refusalCode, message) => {
    await place({ address: kms }, kmsImplementation, kmsStored);
    await refused(kmsAuthKind, { implementation: await next() }, refusalCode, message);
    expect(await storageAt(kms, IMPLEMENTATION_SLOT)).toBe(padded(kmsImplementation));
  });
});

test("an app whose upgrades are disabled is refused with those words", async () => {
  await place({ address: app }, appImplementation, { ...appStored, [slot(1)]: slot(0x101) });
  await refused(appAuthKind, {}, "denied.upgrade", "upgrades of this app are permanently disabled");
});

test("another account than the owner is refused, and an owner that is a contract is told what to send", async () => {
  await place({ address: kms }, kmsImplementation, kmsStored);
  await refused(kmsAuthKind, { sender: stranger }, "denied.upgrade", `need ${owner}, have ${stranger}`);
  await place({ address: kms }, kmsImplementation, { ...kmsStored, ...bases(nextApp) });
  const call = { data: expect.stringMatching(/^0x4f1ef286/) };
  const noOp = "the owner is a contract: the call is for it to send";
  expect((await upgrade(kmsAuthKind, {})).json).toMatchObject({ changed: false, noOp, call });
});

test("an access manager that owns the proxy passes the upgrade on, or schedules it where its role has to wait", async () => {
  const { abi, bytecode } = await hre.artifacts.readArtifact("AccessManager");
  const hash = await walletOf(owner).deployContract({ abi, bytecode, args: [owner] });
  const manager = getAddress((await client.getTransactionReceipt({ hash })).contractAddress ?? "0x");
  await place({ address: kms }, kmsImplementation, { ...kmsStored, ...bases(manager) });
  await refused(kmsAuthKind, { sender: stranger }, "denied.role", stranger);
  expect((await upgrade(kmsAuthKind, {})).json).toMatchObject({
    changed: true,
    governance: { authority: manager, operation: null },
  });
  expect(await storageAt(kms, IMPLEMENTATION_SLOT)).toBe(padded(nextKms));
  const delayed = { address: manager, abi, functionName: "grantRole", args: [0n, owner, 7 * 86_400] } as const;
  await walletOf(owner).writeContract(delayed); // the delay of the admin
  const nonce = await client.getTransactionCount({ address: owner });
  await refused(kmsAuthKind, { implementation: undefined }, "denied.delay", /waits 7 d/);
  expect(await client.getTransactionCount({ address: owner }), "nothing deployed in vain").toBe(nonce);
  const scheduled = await upgrade(kmsAuthKind, { implementation: kmsImplementation, schedule: true });
  expect(scheduled.json).toMatchObject({ changed: false, governance: { operation: { id: expect.stringMatching(/^0x/) } } });
  expect(await storageAt(kms, IMPLEMENTATION_SLOT)).toBe(padded(nextKms));
});

test("what changes in the same block is told, with the transaction", async () => {
  await place({ address: kms }, kmsImplementation, kmsStored);
  const wallet = walletOf(owner);
  const racing = Object.create(wallet, {
    sendTransaction: {
      value: async (request: { to: Address; data: Hex }) => {
        await send(owner, { address: kms, abi: kmsAbi }, "setAppImplementation", [appOwner]);
        return wallet.sendTransaction(request);
      },
    },
  });
  const input = { contract: kms, implementation: nextKms, knownEntry: undefined, schedule: false, dryRun: false };
  const run = upgradeProxy({ ...sessionOf(owner), wallet: racing }, kmsAuthKind, input, loadCode(kmsAuthKind));
  await expect(run).rejects.toMatchObject({
    code: "fault.upgrade",
    message: /^transaction 0x\w{64} upgraded the proxy, but .*appImplementation\(\)/,
  });
});

test("a node that fails has not said that an old getter is absent", async () => {
  await place({ address: kms }, kmsImplementation, kmsStored);
  const reader = Object.create(client, {
    call: { value: () => Promise.reject(new InternalRpcError(new Error("overloaded"))) },
  });
  const input = { contract: kms, implementation: nextKms, knownEntry: undefined, schedule: false, dryRun: true };
  const run = upgradeProxy({ ...sessionOf(owner), reader }, kmsAuthKind, input, loadCode(kmsAuthKind));
  await expect(run).rejects.toMatchObject({ code: "unavailable.chain" });
});
