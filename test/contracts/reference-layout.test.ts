/** Proxies of the contracts already deployed, written slot by slot, are upgraded with empty call data and answer as before. */
import { zeroAddress } from "viem";
import { beforeEach, describe, expect, test } from "vitest";
import {
  type AppState,
  appStorage,
  bases,
  INITIALIZABLE,
  type KmsState,
  kmsStorage,
  OWNABLE_2_STEP,
  type Storage,
  slot,
} from "./reference-storage.ts";
import {
  addressOf,
  appAbi,
  appImplementation,
  appOwner,
  ask,
  BOOT_INFO,
  type Contract,
  deployImplementation,
  IMPLEMENTATION_SLOT,
  kmsAbi,
  kmsImplementation,
  networkHelpers,
  owner,
  padded,
  refusal,
  send,
  storageAt,
  stranger,
  unauthorized,
  word,
  ZERO_WORD,
} from "./trust-domain.ts";
import { expectStorage, filled, gap, place } from "./written-proxy.ts";

const { deviceId: DEVICE, composeHash: HASH, osImageHash: IMAGE, mrAggregated: MR } = BOOT_INFO;
const nextKms = (await deployImplementation("KmsAuth")).address;
const nextApp = (await deployImplementation("AppAuth")).address;

const kms: Contract = { address: addressOf("kms"), abi: kmsAbi };
const [app, lockedApp]: readonly [Contract, Contract] = [
  { address: addressOf("app"), abi: appAbi },
  { address: addressOf("locked app"), abi: appAbi },
];
const NO_CODE = addressOf("no code");
const LONG_ID = "0x40d1a6c0f8f4f7a2f1c9a2b9f3c1e8d7b6a59483";

const STATE: KmsState = {
  info: [filled(33), filled(91), filled(5000), filled(31)],
  gatewayAppId: LONG_ID,
  apps: [app.address, lockedApp.address, NO_CODE],
  aggregatedMrs: [MR, word("second mr")],
  devices: [DEVICE],
  osImages: [IMAGE],
  appImplementation,
};
const APP: AppState = {
  composeHashes: [HASH],
  devices: [DEVICE],
  upgradesDisabled: false,
  allowAnyDevice: false,
  requireTcbUpToDate: false,
};
const LOCKED: AppState = { ...APP, devices: [], upgradesDisabled: true, allowAnyDevice: true, requireTcbUpToDate: true };

const kmsBefore: Storage = { ...bases(owner, stranger), ...kmsStorage(STATE) };
const appBefore: Storage = { ...bases(appOwner), ...appStorage(APP) };
const lockedBefore: Storage = { ...bases(appOwner), ...appStorage(LOCKED) };

await place(kms, kmsImplementation, kmsBefore);
await place(app, appImplementation, appBefore);
await place(lockedApp, appImplementation, lockedBefore);
const written = await networkHelpers.takeSnapshot();

async function upgradeBoth(): Promise<void> {
  await send(owner, kms, "upgradeToAndCall", [nextKms, "0x"]);
  await send(appOwner, app, "upgradeToAndCall", [nextApp, "0x"]);
}

const boot = (changes: object) => ({ ...BOOT_INFO, appId: app.address, ...changes });
const OUTDATED = { tcbStatus: "OutOfDate" };
const OTHER = word("unlisted");
const TCB = "TCB status is not up to date";

/** Every row of the three decision tables. */
const decisions: readonly (readonly [Contract, string, object, string])[] = [
  [kms, "isKmsAllowed", {}, ""],
  [kms, "isKmsAllowed", { mrAggregated: word("second mr") }, ""],
  [kms, "isKmsAllowed", { appId: zeroAddress, composeHash: OTHER, mrSystem: OTHER, advisoryIds: [] }, ""],
  [kms, "isKmsAllowed", OUTDATED, TCB],
  [kms, "isKmsAllowed", { osImageHash: OTHER }, "OS image is not allowed"],
  [kms, "isKmsAllowed", { mrAggregated: OTHER }, "Aggregated MR not allowed"],
  [kms, "isKmsAllowed", { deviceId: OTHER }, "KMS is not allowed to boot on this device"],
  [kms, "isAppAllowed", {}, ""],
  [kms, "isAppAllowed", { appId: stranger }, "App not registered"],
  [kms, "isAppAllowed", { osImageHash: OTHER }, "OS image is not allowed"],
  [kms, "isAppAllowed", { appId: NO_CODE }, "App not deployed or invalid address"],
  [kms, "isAppAllowed", { composeHash: OTHER }, "Compose hash not allowed"],
  [kms, "isAppAllowed", { deviceId: OTHER }, "Device not allowed"],
  [kms, "isAppAllowed", OUTDATED, ""],
  [kms, "isAppAllowed", { appId: lockedApp.address, deviceId: OTHER }, ""],
  [kms, "isAppAllowed", { appId: lockedApp.address, ...OUTDATED }, TCB],
  [app, "isAppAllowed", { osImageHash: OTHER, appId: stranger }, ""],
  [app, "isAppAllowed", { composeHash: OTHER }, "Compose hash not allowed"],
  [app, "isAppAllowed", { deviceId: OTHER }, "Device not allowed"],
  [lockedApp, "isAppAllowed", OUTDATED, TCB],
];

const getters: readonly (readonly [Contract, string, readonly unknown[], unknown])[] = [
  [kms, "owner", [], owner],
  [kms, "pendingOwner", [], stranger],
  [kms, "kmsInfo", [], STATE.info],
  [kms, "gatewayAppId", [], LONG_ID],
  [kms, "appImplementation", [], appImplementation],
  [kms, "registeredApps", [NO_CODE], true],
  [kms, "registeredApps", [stranger], false],
  [kms, "kmsAllowedAggregatedMrs", [MR], true],
  [kms, "kmsAllowedDeviceIds", [DEVICE], true],
  [kms, "allowedOsImages", [IMAGE], true],
  [kms, "allowedOsImages", [OTHER], false],
  [kms, "supportsInterface", ["0x1e079198"], true],
  [kms, "supportsInterface", ["0x8fd37527"], false],
  [app, "owner", [], appOwner],
  [app, "pendingOwner", [], zeroAddress],
  [app, "version", [], 2n],
  [app, "allowedComposeHashes", [HASH], true],
  [app, "allowedDeviceIds", [DEVICE], true],
  [app, "allowAnyDevice", [], false],
  [app, "requireTcbUpToDate", [], false],
  [app, "supportsInterface", ["0x8fd37527"], true],
  [lockedApp, "allowAnyDevice", [], true],
  [lockedApp, "requireTcbUpToDate", [], true],
];

describe.each([
  ["before", async () => {}],
  ["after", upgradeBoth],
] as const)("%s the upgrade", (_stage, arrive) => {
  beforeEach(async () => {
    await written.restore();
    await arrive();
  });

  test("every decision is the one of the written lists", async () => {
    for (const [contract, name, changes, reason] of decisions) {
      expect(await ask(contract, name, [boot(changes)]), `${name} ${JSON.stringify(changes)}`).toEqual([reason === "", reason]);
    }
  });

  test("every getter reads the written slots", async () => {
    for (const [contract, name, args, value] of getters) expect(await ask(contract, name, args), name).toEqual(value);
  });

  test("the locked app is not upgraded, the other only by its owner", async () => {
    expect(await refusal(appOwner, lockedApp, "upgradeToAndCall", [nextApp, "0x"])).toBe("Upgrades are permanently disabled");
    expect(await refusal(stranger, app, "upgradeToAndCall", [nextApp, "0x"])).toBe(unauthorized(stranger));
  });

  test("no form of initialize runs again", async () => {
    expect(await refusal(owner, kms, "initialize", [stranger, stranger])).toBe("InvalidInitialization()");
    expect(await refusal(appOwner, app, "initialize", [stranger, false, true, OTHER, OTHER])).toBe("InvalidInitialization()");
    expect(await refusal(appOwner, app, "initialize", [stranger, false, true, true, OTHER, OTHER])).toBe(
      "InvalidInitialization()",
    );
  });

  test("the staged owner accepts, and the older app opts in to the TCB rule and out again", async () => {
    await send(stranger, kms, "acceptOwnership");
    expect(await refusal(owner, kms, "addOsImageHash", [OTHER])).toBe(unauthorized(owner));
    await expectStorage(kms, { ...kmsBefore, ...bases(stranger), [OWNABLE_2_STEP]: ZERO_WORD });
    await send(appOwner, app, "setRequireTcbUpToDate", [true]);
    expect(await ask(kms, "isAppAllowed", [boot(OUTDATED)])).toEqual([false, TCB]);
    await send(appOwner, app, "setRequireTcbUpToDate", [false]);
    expect(await ask(kms, "isAppAllowed", [boot(OUTDATED)])).toEqual([true, ""]);
  });

  // What the older code would read after a roll-back is exactly what it would have written itself.
  test("every setter writes the slots of the older layout, and the gap stays zero", async () => {
    const info = { k256Pubkey: filled(31), caPubkey: filled(32), quote: filled(64), eventlog: filled(33) };
    await send(owner, kms, "setKmsInfo", [info]);
    await send(owner, kms, "setKmsQuote", [filled(200)]);
    await send(owner, kms, "setKmsEventlog", [filled(3)]);
    await send(owner, kms, "setGatewayAppId", ["any"]);
    await send(owner, kms, "addOsImageHash", [OTHER]);
    await send(owner, kms, "addKmsDevice", [OTHER]);
    await send(owner, kms, "addKmsAggregatedMr", [OTHER]);
    await send(stranger, kms, "registerApp", [stranger]);
    await send(owner, kms, "setAppImplementation", [nextApp]);
    await expectStorage(kms, {
      ...bases(owner, stranger),
      ...kmsStorage({
        info: [filled(31), filled(32), filled(200), filled(3)],
        gatewayAppId: "any",
        apps: [...STATE.apps, stranger],
        aggregatedMrs: [...STATE.aggregatedMrs, OTHER],
        devices: [DEVICE, OTHER],
        osImages: [IMAGE, OTHER],
        appImplementation: nextApp,
      }),
      ...gap(10, 59),
    });
    for (const [name, value] of [
      ["addComposeHash", OTHER],
      ["addDevice", OTHER],
      ["setAllowAnyDevice", true],
      ["setRequireTcbUpToDate", true],
    ] as const) {
      await send(appOwner, app, name, [value]);
    }
    await send(appOwner, app, "disableUpgrades");
    const changed: AppState = { ...LOCKED, composeHashes: [HASH, OTHER], devices: [DEVICE, OTHER] };
    await expectStorage(app, { ...bases(appOwner), ...appStorage(changed), ...gap(4, 52) });
  });
});

test.each([
  ["empty", ""],
  ["short", "any"],
  ["31 bytes", "a".repeat(31)],
  ["32 bytes", "b".repeat(32)],
  ["42 characters", LONG_ID],
])("a gateway id that is %s survives the upgrade and an overwrite by the owner", async (_name, id) => {
  await written.restore();
  await place(kms, kmsImplementation, { ...kmsBefore, ...kmsStorage({ ...STATE, gatewayAppId: id }) });
  await upgradeBoth();
  expect(await ask(kms, "gatewayAppId")).toBe(id);
  await send(owner, kms, "setGatewayAppId", [LONG_ID]);
  expect(await ask(kms, "gatewayAppId")).toBe(LONG_ID);
});

test("the upgrade touches nothing but the implementation slot", async () => {
  await written.restore();
  await upgradeBoth();
  await expectStorage(kms, { ...kmsBefore, ...gap(10, 59), [IMPLEMENTATION_SLOT]: padded(nextKms) });
  await expectStorage(app, { ...appBefore, ...gap(4, 52), [IMPLEMENTATION_SLOT]: padded(nextApp) });
  expect(await storageAt(kms.address, INITIALIZABLE)).toBe(slot(1));
});
