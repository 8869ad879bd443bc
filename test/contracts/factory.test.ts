/** The app factory: both overloads, what they store, and every log in its order. */
import { encodeFunctionData } from "viem";
import { expect, test } from "vitest";
import {
  appAbi,
  appImplementation,
  appOwner,
  ask,
  BOOT_INFO,
  createApp,
  deployImplementation,
  deployProxy,
  IMPLEMENTATION_SLOT,
  kms,
  kmsAbi,
  kmsImplementation,
  nextAppId,
  owner,
  padded,
  policyChanged,
  refusal,
  type StatedLog,
  send,
  storageAt,
  stranger,
  ZERO_ADDRESS,
  ZERO_WORD,
} from "./trust-domain.ts";

const { deviceId: DEVICE, composeHash: HASH } = BOOT_INFO;

// K5 U7 U8: arguments, then TCB rule, any device, device listed, hash listed, upgrades disabled.
test.each([
  ["six arguments, everything", [appOwner, true, true, true, DEVICE, HASH], [true, true, true, true, true]],
  ["six arguments, nothing", [appOwner, false, false, false, ZERO_WORD, ZERO_WORD], [false, false, false, false, false]],
  ["six arguments, a device alone", [appOwner, false, true, false, DEVICE, ZERO_WORD], [true, false, true, false, false]],
  ["six arguments, a hash alone", [appOwner, false, false, true, ZERO_WORD, HASH], [false, true, false, true, false]],
  ["five arguments, everything", [appOwner, true, true, DEVICE, HASH], [false, true, true, true, true]],
  ["five arguments, nothing", [appOwner, false, false, ZERO_WORD, ZERO_WORD], [false, false, false, false, false]],
] as const)("makes and registers an app by %s", async (_name, args, [tcb, anyDevice, device, hash, locked]) => {
  const appId = await nextAppId();
  const logs = await send(stranger, kms, "deployAndRegisterApp", args);
  const listed: StatedLog[] = [];
  // Inside the app the caller is the KMS contract, not the deployer.
  if (device)
    listed.push([appId, "DeviceAdded", { deviceId: DEVICE }], policyChanged(appId, kms.address, "device", DEVICE, true));
  if (hash) listed.push([appId, "ComposeHashAdded", { composeHash: HASH }]);
  if (hash) listed.push(policyChanged(appId, kms.address, "compose-hash", HASH, true));
  expect(logs).toEqual([
    [appId, "Upgraded", { implementation: appImplementation }],
    ...listed,
    [appId, "OwnershipTransferred", { previousOwner: ZERO_ADDRESS, newOwner: appOwner }],
    [appId, "Initialized", { version: 1n }],
    [kms.address, "AppRegistered", { appId }],
    policyChanged(kms.address, stranger, "registered-app", padded(appId), true),
    [kms.address, "AppDeployedViaFactory", { appId, deployer: stranger }],
  ]);
  const app = { address: appId, abi: appAbi };
  expect(await ask(kms, "registeredApps", [appId])).toBe(true);
  expect(await ask(app, "owner")).toBe(appOwner);
  expect(await ask(app, "version")).toBe(2n);
  expect(await ask(app, "requireTcbUpToDate")).toBe(tcb);
  expect(await ask(app, "allowAnyDevice")).toBe(anyDevice);
  expect(await ask(app, "allowedDeviceIds", [DEVICE])).toBe(device);
  expect(await ask(app, "allowedComposeHashes", [HASH])).toBe(hash);
  expect(await ask(app, "allowedDeviceIds", [ZERO_WORD])).toBe(false);
  expect(await ask(app, "allowedComposeHashes", [ZERO_WORD])).toBe(false);
  expect((await storageAt(appId, 1))?.slice(-2)).toBe(locked ? "01" : "00");
});

test("answers the id of the app that it makes", async () => {
  const appId = await nextAppId();
  const args = [appOwner, false, true, ZERO_WORD, HASH];
  expect(await ask(kms, "deployAndRegisterApp", args)).toBe(appId);
  expect((await createApp(args)).address).toBe(appId);
});

test.each([
  ["six", [ZERO_ADDRESS, false, false, false, DEVICE, HASH]],
  ["five", [ZERO_ADDRESS, false, false, DEVICE, HASH]],
] as const)("refuses a zero owner, by %s arguments", async (_name, args) => {
  expect(await refusal(stranger, kms, "deployAndRegisterApp", args)).toBe("Invalid owner address");
});

test("refuses while no implementation is set, before it looks at the owner", async () => {
  const initData = encodeFunctionData({ abi: kmsAbi, functionName: "initialize", args: [owner, ZERO_ADDRESS] });
  const { address } = await deployProxy(kmsImplementation, initData);
  const bare = { address, abi: kmsAbi };
  for (const args of [
    [ZERO_ADDRESS, false, false, false, DEVICE, HASH],
    [appOwner, false, false, DEVICE, HASH],
  ]) {
    expect(await refusal(stranger, bare, "deployAndRegisterApp", args)).toBe("DstackApp implementation not set");
  }
  await send(owner, bare, "setAppImplementation", [stranger]);
  const args = [appOwner, false, false, DEVICE, HASH];
  expect(await refusal(stranger, bare, "deployAndRegisterApp", args)).toBe(`ERC1967InvalidImplementation(${stranger})`);
});

test("a later implementation leaves existing apps alone", async () => {
  const before = await createApp([appOwner, false, true, ZERO_WORD, HASH]);
  const next = await deployImplementation("AppAuth");
  await send(owner, kms, "setAppImplementation", [next.address]);
  const after = await createApp([appOwner, false, true, ZERO_WORD, HASH]);
  expect(await storageAt(before.address, IMPLEMENTATION_SLOT)).toBe(padded(appImplementation));
  expect(await storageAt(after.address, IMPLEMENTATION_SLOT)).toBe(padded(next.address));
});
