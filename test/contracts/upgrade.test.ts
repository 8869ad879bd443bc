/** Upgrades of both proxies: who may, in which order things are checked, what is kept, and the lock that cannot be undone. */
import { encodeFunctionData, type Hex } from "viem";
import { expect, test } from "vitest";
import {
  appAbi,
  appImplementation,
  appOwner,
  ask,
  BOOT_INFO,
  type Contract,
  createApp,
  deployApp,
  deployImplementation,
  IMPLEMENTATION_SLOT,
  kms,
  kmsAbi,
  kmsImplementation,
  networkHelpers,
  owner,
  padded,
  policyChanged,
  refusal,
  restoreAfterEach,
  send,
  storageAt,
  stranger,
  unauthorized,
  word,
  ZERO_WORD,
} from "./trust-domain.ts";

const { deviceId: DEVICE, composeHash: HASH, osImageHash: IMAGE, mrAggregated: MR } = BOOT_INFO;
const nextKms = (await deployImplementation("KmsAuth")).address;
const nextApp = (await deployImplementation("AppAuth")).address;
const newApp = async () => (await deployApp([appOwner, false, true, DEVICE, HASH])).app;

restoreAfterEach();

// U5 E5
test.each([
  ["KmsAuth", async () => kms, owner, nextKms],
  ["AppAuth", newApp, appOwner, nextApp],
] as const)(
  "%s: the owner alone upgrades, and the audit event comes before the new code",
  async (_name, target, holder, next) => {
    const proxy: Contract = await target();
    expect(await refusal(stranger, proxy, "upgradeToAndCall", [next, "0x"])).toBe(unauthorized(stranger));
    expect(await send(holder, proxy, "upgradeToAndCall", [next, "0x"])).toEqual([
      policyChanged(proxy.address, holder, "implementation-upgrade", padded(next), true),
      [proxy.address, "Upgraded", { implementation: next }],
    ]);
    expect(await storageAt(proxy.address, IMPLEMENTATION_SLOT)).toBe(padded(next));
    expect(await refusal(stranger, proxy, "proxiableUUID")).toBe("UUPSUnauthorizedCallContext()");
  },
);

test("the implementations cannot be upgraded or owned", async () => {
  for (const [address, abi, next] of [
    [kmsImplementation, kmsAbi, nextKms],
    [appImplementation, appAbi, nextApp],
  ] as const) {
    expect(await refusal(owner, { address, abi }, "upgradeToAndCall", [next, "0x"])).toBe("UUPSUnauthorizedCallContext()");
    expect(await refusal(owner, { address, abi }, "renounceOwnership")).toBe(unauthorized(owner));
  }
});

test.each(["KmsAuth", "AppAuth"] as const)("creating the %s implementation only locks its initializers", async (name) => {
  const { address, logs } = await deployImplementation(name);
  expect(logs).toEqual([[address, "Initialized", { version: 2n ** 64n - 1n }]]);
});

// Run-time code that answers any call with one word.
const answering = (word: Hex): Hex => `0x7f${word.slice(2)}60005260206000f3`;
test.each([
  ["an address without code", "0x", 0n, ""],
  ["a contract that is not upgradeable", "0x60006000fd", 0n, `ERC1967InvalidImplementation(${stranger})`],
  ["another UUID", answering(word("uuid")), 0n, `UUPSUnsupportedProxiableUUID(${word("uuid")})`],
  ["ether without a call", answering(IMPLEMENTATION_SLOT), 1n, "ERC1967NonPayable()"],
] as const)("refuses an upgrade to %s", async (_name, code, value, expected) => {
  await networkHelpers.setCode(stranger, code);
  expect(await refusal(owner, kms, "upgradeToAndCall", [stranger, "0x"], value)).toBe(expected);
});

// U3
test("an upgrade runs the call that it carries, as the proxy's owner asked", async () => {
  const data = encodeFunctionData({ abi: kmsAbi, functionName: "setGatewayAppId", args: ["gateway"] });
  const logs = await send(owner, kms, "upgradeToAndCall", [nextKms, data]);
  expect(logs.map(([, event]) => event)).toEqual(["PolicyChanged", "Upgraded", "GatewayAppIdSet", "PolicyChanged"]);
  expect(await ask(kms, "gatewayAppId")).toBe("gateway");
});

test("no upgrade initializes a proxy again", async () => {
  const again = encodeFunctionData({ abi: kmsAbi, functionName: "initialize", args: [stranger, stranger] });
  expect(await refusal(owner, kms, "upgradeToAndCall", [nextKms, again])).toBe("InvalidInitialization()");
});

// U5
test.each([
  ["by its owner later", false],
  ["at its initialization", true],
])("an app locked %s is never upgraded again, and a stranger still gets the owner error first", async (_name, atInit) => {
  const { app } = await deployApp([appOwner, atInit, true, DEVICE, HASH]);
  if (!atInit) await send(appOwner, app, "disableUpgrades");
  expect(await refusal(stranger, app, "upgradeToAndCall", [nextApp, "0x"])).toBe(unauthorized(stranger));
  expect(await refusal(appOwner, app, "upgradeToAndCall", [nextApp, "0x"])).toBe("Upgrades are permanently disabled");
  await send(appOwner, app, "transferOwnership", [stranger]);
  await send(stranger, app, "acceptOwnership");
  expect(await refusal(stranger, app, "upgradeToAndCall", [nextApp, "0x"])).toBe("Upgrades are permanently disabled");
});

// U6
test("an app of the older form has no TCB rule before and after its upgrade, and may opt in and out", async () => {
  const app = await newApp();
  const outdated = { ...BOOT_INFO, tcbStatus: "OutOfDate" };
  expect(await ask(app, "requireTcbUpToDate")).toBe(false);
  await send(appOwner, app, "upgradeToAndCall", [nextApp, "0x"]);
  expect(await ask(app, "requireTcbUpToDate")).toBe(false);
  expect(await ask(app, "isAppAllowed", [outdated])).toEqual([true, ""]);
  const optedIn = [app.address, "RequireTcbUpToDateSet", { requireUpToDate: true }];
  expect(await send(appOwner, app, "setRequireTcbUpToDate", [true])).toContainEqual(optedIn);
  expect(await ask(app, "isAppAllowed", [outdated])).toEqual([false, "TCB status is not up to date"]);
  await send(appOwner, app, "setRequireTcbUpToDate", [false]);
  expect(await ask(app, "isAppAllowed", [outdated])).toEqual([true, ""]);
});

// U2 U9
test("a whole trust domain keeps its state and its answers through the upgrade of both proxies", async () => {
  const info = { k256Pubkey: "0x01", caPubkey: "0x02", quote: "0x03", eventlog: "0x04" };
  await send(owner, kms, "setKmsInfo", [info]);
  await send(owner, kms, "setGatewayAppId", ["gateway"]);
  await send(owner, kms, "addOsImageHash", [IMAGE]);
  await send(owner, kms, "addKmsAggregatedMr", [MR]);
  await send(owner, kms, "addKmsDevice", [DEVICE]);
  const app = await createApp([appOwner, false, false, false, DEVICE, HASH]);
  const bootInfo = { ...BOOT_INFO, appId: app.address };
  const state = async () => [
    await ask(kms, "owner"),
    await ask(kms, "gatewayAppId"),
    await ask(kms, "appImplementation"),
    await ask(kms, "kmsInfo"),
    await ask(kms, "kmsAllowedAggregatedMrs", [MR]),
    await ask(kms, "isKmsAllowed", [BOOT_INFO]),
    await ask(kms, "isAppAllowed", [bootInfo]),
    await ask(app, "owner"),
    await ask(app, "allowedDeviceIds", [DEVICE]),
    await ask(app, "allowedComposeHashes", [HASH]),
    await ask(app, "allowAnyDevice"),
  ];
  const before = await state();
  expect(before.slice(5, 7)).toEqual([
    [true, ""],
    [true, ""],
  ]);
  await send(owner, kms, "upgradeToAndCall", [nextKms, "0x"]);
  await send(appOwner, app, "upgradeToAndCall", [nextApp, "0x"]);
  expect(await state()).toEqual(before);
  expect(await storageAt(app.address, 4)).toBe(ZERO_WORD);
});
