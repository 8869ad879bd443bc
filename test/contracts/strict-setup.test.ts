/** Strict mode from the first block on: both initializers and the three forms of the factory, log by log. */
import { encodeFunctionData, getContractAddress, type Hex } from "viem";
import { expect, test } from "vitest";
import {
  ALL_APP_SWITCHES,
  ALL_KMS_SWITCHES,
  appOf,
  deployStrictApp,
  strictData,
  strictKms,
  strictKmsLogs,
} from "./strict-domain.ts";
import {
  appAbi,
  appImplementation,
  appOwner,
  ask,
  BOOT_INFO,
  type Contract,
  client,
  deployImplementation,
  deployProxy,
  kms,
  kmsAbi,
  kmsImplementation,
  owner,
  padded,
  policyChanged,
  refusal,
  restoreAfterEach,
  type StatedLog,
  send,
  stranger,
  tag,
  word,
  ZERO_ADDRESS,
  ZERO_WORD,
} from "./trust-domain.ts";

const { deviceId: DEVICE, composeHash: HASH } = BOOT_INFO;
const SALT = word("salt");

restoreAfterEach();

/** All that an app says when it is set up; `actor` is who built its proxy. */
function setUpLogs({ address }: Contract, actor: Hex, settings: readonly [boolean, boolean, boolean, Hex, Hex]): StatedLog[] {
  const [locked, tcb, anyDevice, device, hash] = settings;
  const said = (policy: string, value: Hex, enabled = true) => policyChanged(address, actor, policy, value, enabled);
  const logs: StatedLog[] = [
    [address, "Upgraded", { implementation: appImplementation }],
    [address, "HardeningSet", { switches: ALL_APP_SWITCHES }],
    said("hardening", padded("0x03")),
  ];
  if (device !== ZERO_WORD) logs.push([address, "DeviceAdded", { deviceId: device }], said("device", device));
  if (hash !== ZERO_WORD) logs.push([address, "ComposeHashAdded", { composeHash: hash }], said("compose-hash", hash));
  logs.push([address, "OwnershipTransferred", { previousOwner: ZERO_ADDRESS, newOwner: appOwner }]);
  logs.push([address, "AllowAnyDeviceSet", { allowAny: anyDevice }], said("allow-any-device", ZERO_WORD, anyDevice));
  logs.push([address, "RequireTcbUpToDateSet", { requireUpToDate: tcb }], said("require-tcb-up-to-date", ZERO_WORD, tcb));
  if (locked) logs.push([address, "UpgradesDisabled", {}], said("upgrades-disabled", ZERO_WORD));
  return [...logs, [address, "Initialized", { version: 1n }]];
}

test("a strict trust domain tells its switches before anything that they govern", async () => {
  const { address } = strictKms;
  expect(strictKmsLogs).toEqual([
    [address, "Upgraded", { implementation: kmsImplementation }],
    [address, "OwnershipTransferred", { previousOwner: ZERO_ADDRESS, newOwner: owner }],
    [address, "HardeningSet", { switches: ALL_KMS_SWITCHES }],
    policyChanged(address, owner, "hardening", padded("0x7f"), true),
    [address, "AppImplementationSet", { implementation: appImplementation }],
    policyChanged(address, owner, "app-implementation", padded(appImplementation), true),
    [address, "Initialized", { version: 1n }],
  ]);
  expect(await ask(strictKms, "hardening")).toBe(ALL_KMS_SWITCHES);
  expect(await ask(kms, "hardening")).toBe(0n);
});

test.each([
  ["zero as owner", [ZERO_ADDRESS, appImplementation], "OwnableInvalidOwner"],
  ["zero as implementation", [owner, ZERO_ADDRESS], `ZeroAddress("${tag("app-implementation")}")`],
  ["an implementation without code", [owner, stranger], `NotAContract("${stranger}")`],
  ["a trust domain as implementation of apps", [owner, kmsImplementation], "MissingInterface"],
] as const)("no strict trust domain is built with %s", async (_name, args, expected) => {
  await expect(deployProxy(kmsImplementation, strictData(kmsAbi, args))).rejects.toThrow(expected);
});

const SETTINGS: readonly (readonly [string, readonly [boolean, boolean, boolean, Hex, Hex]])[] = [
  ["everything", [true, true, true, DEVICE, HASH]],
  ["nothing", [false, false, false, ZERO_WORD, ZERO_WORD]],
  ["the TCB rule and a hash", [false, true, false, ZERO_WORD, HASH]],
];

test.each(SETTINGS)("a strict app set up with %s tells each flag, off or on", async (_name, settings) => {
  const { app, logs } = await deployStrictApp([appOwner, ...settings]);
  expect(logs).toEqual(setUpLogs(app, owner, settings));
  expect(await ask(app, "hardening")).toBe(ALL_APP_SWITCHES);
  expect(await ask(app, "upgradesDisabled")).toBe(settings[0]);
});

test("initializes strictly once, and never after the compatible form, nor an implementation", async () => {
  const { app } = await deployStrictApp([appOwner, false, false, false, DEVICE, HASH]);
  const appArgs = [stranger, false, false, true, ZERO_WORD, ZERO_WORD];
  for (const target of [app, { address: appImplementation, abi: appAbi }]) {
    expect(await refusal(stranger, target, "initializeStrict", appArgs)).toBe("InvalidInitialization()");
    expect(await refusal(stranger, target, "initialize", appArgs)).toBe("InvalidInitialization()");
  }
  for (const target of [kms, strictKms, { address: kmsImplementation, abi: kmsAbi }]) {
    expect(await refusal(stranger, target, "initializeStrict", [stranger, appImplementation])).toBe("InvalidInitialization()");
  }
  const zero = strictData(appAbi, [ZERO_ADDRESS, false, false, true, ZERO_WORD, ZERO_WORD]);
  await expect(deployProxy(appImplementation, zero)).rejects.toThrow("invalid owner address");
});

// Arguments after the owner, as they are given, and as the app has them.
test.each([
  ["five arguments", [true, true, DEVICE, HASH], [true, false, true, DEVICE, HASH]],
  ["six arguments", [false, true, false, ZERO_WORD, HASH], [false, true, false, ZERO_WORD, HASH]],
  ["a salt", [false, true, true, DEVICE, ZERO_WORD, SALT], [false, true, true, DEVICE, ZERO_WORD]],
] as const)("a strict factory makes a strict app by %s, and says its id last", async (_name, args, settings) => {
  const { app, logs } = await appOf(strictKms, [appOwner, ...args]);
  expect(logs).toEqual([
    ...setUpLogs(app, strictKms.address, settings),
    [strictKms.address, "AppRegistered", { appId: app.address }],
    policyChanged(strictKms.address, stranger, "registered-app", padded(app.address), true),
    [strictKms.address, "AppDeployedViaFactory", { appId: app.address, deployer: stranger }],
  ]);
  expect(await ask(app, "hardening")).toBe(ALL_APP_SWITCHES);
  expect(await refusal(appOwner, app, "renounceOwnership")).toBe("OwnershipCannotBeRenounced()");
});

test.each([
  ["compatible", kms, 0n],
  ["strict", strictKms, ALL_APP_SWITCHES],
] as const)("a %s factory gives the id it predicts, once for the same settings and salt", async (_mode, factory, switches) => {
  const args = [appOwner, false, true, false, DEVICE, HASH, SALT];
  const appId = await ask(factory, "predictAppId", args);
  const { app } = await appOf(factory, args);
  expect(app.address).toBe(appId);
  expect(await ask(app, "hardening")).toBe(switches);
  expect(await ask(factory, "predictAppId", args)).toBe(appId);
  expect(await refusal(stranger, factory, "deployAndRegisterApp", args)).toBe(`AppAlreadyDeployed(${appId})`);
  const others = [appOwner, stranger].flatMap((holder) => [SALT, word("other salt")].map((salt) => [holder, salt]));
  const ids = others.map(([holder, salt]) => ask(factory, "predictAppId", [holder, false, true, false, DEVICE, HASH, salt]));
  expect(new Set(await Promise.all(ids)).size).toBe(4);
});

test("the deterministic factory takes no zero owner and needs an implementation, as the others", async () => {
  const args = [ZERO_ADDRESS, false, true, false, DEVICE, HASH, SALT];
  for (const call of ["deployAndRegisterApp", "predictAppId"]) {
    expect(await refusal(stranger, strictKms, call, args)).toBe("Invalid owner address");
  }
  const initData = encodeFunctionData({ abi: kmsAbi, functionName: "initialize", args: [owner, ZERO_ADDRESS] });
  const bare = { address: (await deployProxy(kmsImplementation, initData)).address, abi: kmsAbi };
  for (const call of ["deployAndRegisterApp", "predictAppId"]) {
    expect(await refusal(stranger, bare, call, args)).toBe("DstackApp implementation not set");
  }
});

test("a later implementation gives other ids, so that a prediction is of this code only", async () => {
  const args = [appOwner, false, true, false, DEVICE, HASH, SALT];
  const before = await ask(strictKms, "predictAppId", args);
  const { address } = await deployImplementation("AppAuth");
  await send(owner, strictKms, "setAppImplementation", [address]);
  expect(await ask(strictKms, "predictAppId", args)).not.toBe(before);
});

test("the older forms of a strict factory keep giving ids by the factory's nonce", async () => {
  const nonce = BigInt(await client.getTransactionCount({ address: strictKms.address }));
  const { app } = await appOf(strictKms, [appOwner, false, true, DEVICE, HASH]);
  expect(app.address).toBe(getContractAddress({ from: strictKms.address, nonce }));
});
