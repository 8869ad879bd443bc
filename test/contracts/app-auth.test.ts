/** AppAuth: set-up, every setter with its logs, ownership. */
import { expect, test } from "vitest";
import {
  appAbi,
  appImplementation,
  appOwner,
  ask,
  BOOT_INFO,
  type Contract,
  deployApp,
  owner,
  policyChanged,
  refusal,
  restoreAfterEach,
  type SetterRow,
  type StatedLog,
  send,
  storageAt,
  stranger,
  unauthorized,
  ZERO_ADDRESS,
  ZERO_WORD,
} from "./trust-domain.ts";

const DEVICE = BOOT_INFO.deviceId;
const HASH = BOOT_INFO.composeHash;
const state = async (app: Contract) => ({
  owner: await ask(app, "owner"),
  requireTcb: await ask(app, "requireTcbUpToDate"),
  anyDevice: await ask(app, "allowAnyDevice"),
  device: await ask(app, "allowedDeviceIds", [DEVICE]),
  hash: await ask(app, "allowedComposeHashes", [HASH]),
});
const upgradesDisabled = async (app: Contract) => (await storageAt(app.address, 1))?.slice(-2) === "01";

restoreAfterEach();

// A1 A2 A9 A12 U1: name, arguments of initialize, state, whether upgrades are disabled.
test.each([
  ["the older form, nothing on", [appOwner, false, false, ZERO_WORD, ZERO_WORD], [false, false, false, false], false],
  ["the older form, everything on", [appOwner, true, true, DEVICE, HASH], [false, true, true, true], true],
  ["the newer form, nothing on", [appOwner, false, false, false, ZERO_WORD, ZERO_WORD], [false, false, false, false], false],
  ["the newer form, everything on", [appOwner, true, true, true, DEVICE, HASH], [true, true, true, true], true],
  ["the newer form, TCB rule alone", [appOwner, false, true, false, ZERO_WORD, ZERO_WORD], [true, false, false, false], false],
  ["the newer form, a device alone", [appOwner, false, false, false, DEVICE, ZERO_WORD], [false, false, true, false], false],
  ["the newer form, a hash alone", [appOwner, false, false, false, ZERO_WORD, HASH], [false, false, false, true], false],
] as const)("initializes by %s", async (_name, args, [requireTcb, anyDevice, device, hash], locked) => {
  const { app, logs } = await deployApp(args);
  expect(await state(app)).toEqual({ owner: appOwner, requireTcb, anyDevice, device, hash });
  expect(await upgradesDisabled(app)).toBe(locked);
  expect(await ask(app, "version")).toBe(2n);
  const listed: StatedLog[] = [];
  if (device)
    listed.push([app.address, "DeviceAdded", { deviceId: DEVICE }], policyChanged(app.address, owner, "device", DEVICE, true));
  if (hash) {
    listed.push([app.address, "ComposeHashAdded", { composeHash: HASH }]);
    listed.push(policyChanged(app.address, owner, "compose-hash", HASH, true));
  }
  expect(logs).toEqual([
    [app.address, "Upgraded", { implementation: appImplementation }],
    ...listed,
    [app.address, "OwnershipTransferred", { previousOwner: ZERO_ADDRESS, newOwner: appOwner }],
    [app.address, "Initialized", { version: 1n }],
  ]);
});

test.each([
  ["older", [ZERO_ADDRESS, false, false, DEVICE, HASH]],
  ["newer", [ZERO_ADDRESS, false, false, false, DEVICE, HASH]],
] as const)("refuses a zero owner in the %s form", async (_name, args) => {
  await expect(deployApp(args)).rejects.toThrow("invalid owner address");
});

test("initializes once, whichever form comes second, and never the implementation", async () => {
  const { app } = await deployApp([appOwner, false, true, DEVICE, HASH]);
  for (const target of [app, { address: appImplementation, abi: appAbi }]) {
    expect(await refusal(owner, target, "initialize", [stranger, false, true, DEVICE, HASH])).toBe("InvalidInitialization()");
    expect(await refusal(owner, target, "initialize", [stranger, false, true, true, DEVICE, HASH])).toBe(
      "InvalidInitialization()",
    );
  }
});

const SETTERS: readonly SetterRow[] = [
  [
    "addComposeHash",
    [HASH],
    "ComposeHashAdded",
    { composeHash: HASH },
    "compose-hash",
    HASH,
    true,
    "allowedComposeHashes",
    [HASH],
  ],
  [
    "removeComposeHash",
    [HASH],
    "ComposeHashRemoved",
    { composeHash: HASH },
    "compose-hash",
    HASH,
    false,
    "allowedComposeHashes",
    [HASH],
  ],
  [
    "addComposeHash",
    [ZERO_WORD],
    "ComposeHashAdded",
    { composeHash: ZERO_WORD },
    "compose-hash",
    ZERO_WORD,
    true,
    "allowedComposeHashes",
    [ZERO_WORD],
  ],
  ["addDevice", [DEVICE], "DeviceAdded", { deviceId: DEVICE }, "device", DEVICE, true, "allowedDeviceIds", [DEVICE]],
  ["removeDevice", [DEVICE], "DeviceRemoved", { deviceId: DEVICE }, "device", DEVICE, false, "allowedDeviceIds", [DEVICE]],
  [
    "setAllowAnyDevice",
    [true],
    "AllowAnyDeviceSet",
    { allowAny: true },
    "allow-any-device",
    ZERO_WORD,
    true,
    "allowAnyDevice",
    [],
  ],
  [
    "setAllowAnyDevice",
    [false],
    "AllowAnyDeviceSet",
    { allowAny: false },
    "allow-any-device",
    ZERO_WORD,
    false,
    "allowAnyDevice",
    [],
  ],
  [
    "setRequireTcbUpToDate",
    [true],
    "RequireTcbUpToDateSet",
    { requireUpToDate: true },
    "require-tcb-up-to-date",
    ZERO_WORD,
    true,
    "requireTcbUpToDate",
    [],
  ],
  [
    "setRequireTcbUpToDate",
    [false],
    "RequireTcbUpToDateSet",
    { requireUpToDate: false },
    "require-tcb-up-to-date",
    ZERO_WORD,
    false,
    "requireTcbUpToDate",
    [],
  ],
];

// A3 A4 A5 A6 A10
test.each(SETTERS)("%s(%s) is the owner's, emits %s each time, and the getter follows", async (...row) => {
  const [setter, args, event, eventArgs, policy, value, enabled, getter, getterArgs] = row;
  const listed = enabled ? [ZERO_WORD, ZERO_WORD] : [DEVICE, HASH];
  const { app } = await deployApp([appOwner, false, !enabled, !enabled, ...listed]);
  expect(await ask(app, getter, getterArgs)).toBe(!enabled);
  expect(await refusal(stranger, app, setter, args)).toBe(unauthorized(stranger));
  expect(await ask(app, getter, getterArgs)).toBe(!enabled);
  for (let repeat = 0; repeat < 2; repeat += 1) {
    expect(await send(appOwner, app, setter, args)).toEqual([
      [app.address, event, eventArgs],
      policyChanged(app.address, appOwner, policy, value, enabled),
    ]);
    expect(await ask(app, getter, getterArgs)).toBe(enabled);
  }
});

test("disableUpgrades is the owner's, repeatable, and freezes nothing else", async () => {
  const { app } = await deployApp([appOwner, false, false, ZERO_WORD, ZERO_WORD]);
  expect(await refusal(stranger, app, "disableUpgrades")).toBe(unauthorized(stranger));
  for (let repeat = 0; repeat < 2; repeat += 1) {
    expect(await send(appOwner, app, "disableUpgrades")).toEqual([
      [app.address, "UpgradesDisabled", {}],
      policyChanged(app.address, appOwner, "upgrades-disabled", ZERO_WORD, true),
    ]);
    expect(await upgradesDisabled(app)).toBe(true);
  }
  await send(appOwner, app, "addComposeHash", [HASH]);
  await send(appOwner, app, "setAllowAnyDevice", [true]);
  expect(await ask(app, "isAppAllowed", [BOOT_INFO])).toEqual([true, ""]);
});

// A14 A15
test("ownership moves in two steps, a later candidate replaces an earlier one, and zero cancels", async () => {
  const { app } = await deployApp([appOwner, false, false, ZERO_WORD, ZERO_WORD]);
  expect(await refusal(stranger, app, "transferOwnership", [stranger])).toBe(unauthorized(stranger));
  expect(await send(appOwner, app, "transferOwnership", [stranger])).toEqual([
    [app.address, "OwnershipTransferStarted", { previousOwner: appOwner, newOwner: stranger }],
  ]);
  expect([await ask(app, "owner"), await ask(app, "pendingOwner")]).toEqual([appOwner, stranger]);
  await send(appOwner, app, "transferOwnership", [ZERO_ADDRESS]);
  expect(await refusal(stranger, app, "acceptOwnership")).toBe(unauthorized(stranger));
  await send(appOwner, app, "transferOwnership", [stranger]);
  await send(appOwner, app, "transferOwnership", [owner]);
  expect(await refusal(stranger, app, "acceptOwnership")).toBe(unauthorized(stranger));
  expect(await send(owner, app, "acceptOwnership")).toEqual([
    [app.address, "OwnershipTransferred", { previousOwner: appOwner, newOwner: owner }],
  ]);
  expect([await ask(app, "owner"), await ask(app, "pendingOwner")]).toEqual([owner, ZERO_ADDRESS]);
  expect(await refusal(appOwner, app, "addComposeHash", [HASH])).toBe(unauthorized(appOwner));
  await send(owner, app, "addComposeHash", [HASH]);
  expect(await ask(app, "allowedComposeHashes", [HASH])).toBe(true);
});

test("renouncing leaves the app without an owner or a candidate", async () => {
  const { app } = await deployApp([appOwner, false, false, ZERO_WORD, ZERO_WORD]);
  expect(await refusal(stranger, app, "renounceOwnership")).toBe(unauthorized(stranger));
  await send(appOwner, app, "transferOwnership", [stranger]);
  await send(appOwner, app, "renounceOwnership");
  expect([await ask(app, "owner"), await ask(app, "pendingOwner")]).toEqual([ZERO_ADDRESS, ZERO_ADDRESS]);
});
