/** The audit trail: replaying PolicyChanged gives the state that the getters answer, and nothing that was undone leaves a trace. */
import { expect, test } from "vitest";
import {
  appOwner,
  ask,
  BOOT_INFO,
  type Contract,
  client,
  createApp,
  kms,
  networkHelpers,
  owner,
  padded,
  policyChanged,
  refusal,
  restoreAfterEach,
  send,
  stranger,
  tag,
  unauthorized,
  walletOf,
  word,
  ZERO_WORD,
} from "./trust-domain.ts";

restoreAfterEach();

/** What a reader of the log knows: the last word on each rule and value. */
async function replay(contract: Contract): Promise<Map<string, boolean>> {
  const logs = await client.getContractEvents({ ...contract, eventName: "PolicyChanged", fromBlock: 0n, strict: true });
  return new Map(logs.map(({ args }) => [Object.values(args).slice(1, 3).join(), Object.values(args)[3] === true]));
}
const rule = (name: string, value: string) => `${tag(name)},${value}`;

// E1
test("the replayed log of KmsAuth agrees with its getters", async () => {
  const [mr, device, image, removed] = [word("mr"), word("device"), word("image"), word("removed")];
  await send(owner, kms, "addKmsAggregatedMr", [mr]);
  await send(owner, kms, "addKmsDevice", [device]);
  await send(owner, kms, "addOsImageHash", [image]);
  await send(owner, kms, "addOsImageHash", [removed]);
  await send(owner, kms, "removeOsImageHash", [removed]);
  await send(stranger, kms, "registerApp", [appOwner]);
  await send(owner, kms, "setGatewayAppId", ["gateway"]);
  const known = await replay(kms);
  for (const [name, value, getter, key] of [
    ["kms-aggregated-mr", mr, "kmsAllowedAggregatedMrs", mr],
    ["kms-device", device, "kmsAllowedDeviceIds", device],
    ["os-image", image, "allowedOsImages", image],
    ["os-image", removed, "allowedOsImages", removed],
    ["registered-app", padded(appOwner), "registeredApps", appOwner],
  ] as const) {
    expect(known.get(rule(name, value))).toBe(await ask(kms, getter, [key]));
  }
  expect(known.get(rule("os-image", removed))).toBe(false);
  expect(known.get(rule("gateway-app-id", tag(String(await ask(kms, "gatewayAppId")))))).toBe(true);
});

// E2
test("the replayed log of AppAuth agrees with its getters", async () => {
  const app = await createApp([appOwner, false, false, false, BOOT_INFO.deviceId, BOOT_INFO.composeHash]);
  await send(appOwner, app, "removeDevice", [BOOT_INFO.deviceId]);
  await send(appOwner, app, "addDevice", [word("another device")]);
  await send(appOwner, app, "setAllowAnyDevice", [true]);
  await send(appOwner, app, "setAllowAnyDevice", [false]);
  await send(appOwner, app, "setRequireTcbUpToDate", [true]);
  await send(appOwner, app, "disableUpgrades");
  const known = await replay(app);
  expect(known.get(rule("upgrades-disabled", ZERO_WORD))).toBe(true);
  expect(known.get(rule("device", BOOT_INFO.deviceId))).toBe(false);
  for (const [name, value, getter, args] of [
    ["compose-hash", BOOT_INFO.composeHash, "allowedComposeHashes", [BOOT_INFO.composeHash]],
    ["device", BOOT_INFO.deviceId, "allowedDeviceIds", [BOOT_INFO.deviceId]],
    ["device", word("another device"), "allowedDeviceIds", [word("another device")]],
    ["allow-any-device", ZERO_WORD, "allowAnyDevice", []],
    ["require-tcb-up-to-date", ZERO_WORD, "requireTcbUpToDate", []],
  ] as const) {
    expect(known.get(rule(name, value))).toBe(await ask(app, getter, args));
  }
});

// E3
test("a mined transaction that was refused leaves neither event nor state", async () => {
  const image = word("never listed");
  const transaction = { ...kms, functionName: "addOsImageHash", args: [image], gas: 200_000n };
  await walletOf(stranger)
    .writeContract(transaction)
    .catch(() => undefined);
  const block = await client.getBlock();
  const [hash] = block.transactions;
  if (hash === undefined) throw new Error("the refused transaction was not mined");
  const receipt = await client.getTransactionReceipt({ hash });
  expect([receipt.status, receipt.logs]).toEqual(["reverted", []]);
  expect(await refusal(stranger, kms, "addOsImageHash", [image])).toBe(unauthorized(stranger));
  expect(await ask(kms, "allowedOsImages", [image])).toBe(false);
});

// E4
test("after a chain rollback only the canonical branch's event and state remain", async () => {
  const [orphan, canonical] = [word("orphaned image"), word("canonical image")];
  const fork = await networkHelpers.takeSnapshot();
  await send(owner, kms, "addOsImageHash", [orphan]);
  await fork.restore();
  await send(owner, kms, "addOsImageHash", [canonical]);
  const logs = await client.getContractEvents({
    ...kms,
    eventName: "PolicyChanged",
    args: { policy: tag("os-image") },
    fromBlock: 0n,
    strict: true,
  });
  expect(logs.map(({ args }) => args)).toEqual([policyChanged(kms.address, owner, "os-image", canonical, true)[2]]);
  expect(await ask(kms, "allowedOsImages", [orphan])).toBe(false);
  expect(await ask(kms, "allowedOsImages", [canonical])).toBe(true);
});
