/** KmsAuth.isKmsAllowed and isAppAllowed: the decision tables row by row, and app contracts that misbehave. */
import type { Hex } from "viem";
import { beforeAll, expect, test } from "vitest";
import {
  appAbi,
  appImplementation,
  appOwner,
  ask,
  BOOT_INFO,
  type Contract,
  createApp,
  deployApp,
  kms,
  networkHelpers,
  owner,
  refusal,
  send,
  stranger,
  word,
  ZERO_ADDRESS,
  ZERO_WORD,
} from "./trust-domain.ts";

const { composeHash, deviceId, mrAggregated, osImageHash } = BOOT_INFO;
const X = word("something unlisted");
let app: Contract;
let strictApp: Contract;

beforeAll(async () => {
  await send(owner, kms, "addOsImageHash", [osImageHash]);
  await send(owner, kms, "addKmsAggregatedMr", [mrAggregated]);
  await send(owner, kms, "addKmsDevice", [deviceId]);
  app = await createApp([appOwner, false, false, deviceId, composeHash]);
  strictApp = await createApp([appOwner, false, true, false, deviceId, composeHash]);
});

const TCB_REASON = "TCB status is not up to date";
const IMAGE_REASON = "OS image is not allowed";
const MR_REASON = "Aggregated MR not allowed";
const KMS_DEVICE_REASON = "KMS is not allowed to boot on this device";
// K8
test.each([
  ["everything listed", {}, [true, ""]],
  [
    "fields that no rule reads",
    { appId: stranger, composeHash: X, instanceId: stranger, mrSystem: X, advisoryIds: [] },
    [true, ""],
  ],
  ["an outdated platform", { tcbStatus: "Outdated" }, [false, TCB_REASON]],
  ["an empty status", { tcbStatus: "" }, [false, TCB_REASON]],
  ["a status in other letters", { tcbStatus: "UPTODATE" }, [false, TCB_REASON]],
  ["nothing right: the status comes first", { tcbStatus: "", osImageHash: X, mrAggregated: X, deviceId: X }, [false, TCB_REASON]],
  ["an unlisted image", { osImageHash: X }, [false, IMAGE_REASON]],
  ["a zero image", { osImageHash: ZERO_WORD }, [false, IMAGE_REASON]],
  [
    "an unlisted image, measurement and device: the image comes first",
    { osImageHash: X, mrAggregated: X, deviceId: X },
    [false, IMAGE_REASON],
  ],
  ["an unlisted measurement", { mrAggregated: X }, [false, MR_REASON]],
  ["an unlisted measurement and device: the measurement comes first", { mrAggregated: X, deviceId: X }, [false, MR_REASON]],
  ["an unlisted device", { deviceId: X }, [false, KMS_DEVICE_REASON]],
  ["a zero device", { deviceId: ZERO_WORD }, [false, KMS_DEVICE_REASON]],
] as const)("isKmsAllowed answers %s", async (_name, change, answer) => {
  expect(await ask(kms, "isKmsAllowed", [{ ...BOOT_INFO, ...change }])).toEqual(answer);
});

test("isKmsAllowed follows each list when an entry is removed", async () => {
  const snapshot = await networkHelpers.takeSnapshot();
  for (const [remove, value, reason] of [
    ["removeKmsDevice", deviceId, KMS_DEVICE_REASON],
    ["removeKmsAggregatedMr", mrAggregated, MR_REASON],
    ["removeOsImageHash", osImageHash, IMAGE_REASON],
  ] as const) {
    await send(owner, kms, remove, [value]);
    expect(await ask(kms, "isKmsAllowed", [BOOT_INFO])).toEqual([false, reason]);
  }
  await snapshot.restore();
});

// K9 U7 U8
test.each([
  ["what the app allows", () => app, {}, [true, ""]],
  [
    "what the app allows, whatever the KMS lists say",
    () => app,
    { mrAggregated: X, mrSystem: X, instanceId: stranger },
    [true, ""],
  ],
  ["an outdated platform, as the app has no TCB rule", () => app, { tcbStatus: "OutOfDate" }, [true, ""]],
  ["an outdated platform under the app's TCB rule", () => strictApp, { tcbStatus: "OutOfDate" }, [false, TCB_REASON]],
  ["an up-to-date platform under the app's TCB rule", () => strictApp, {}, [true, ""]],
  ["a compose hash that the app does not list", () => app, { composeHash: X }, [false, "Compose hash not allowed"]],
  ["a device that the app does not list", () => app, { deviceId: X }, [false, "Device not allowed"]],
  ["an unlisted image", () => app, { osImageHash: X }, [false, IMAGE_REASON]],
  [
    "an unregistered app with an unlisted image: registration comes first",
    () => ({ address: appImplementation }),
    { osImageHash: X },
    [false, "App not registered"],
  ],
  ["the zero app", () => ({ address: ZERO_ADDRESS }), {}, [false, "App not registered"]],
] as const)("isAppAllowed answers %s", async (_name, target, change, answer) => {
  expect(await ask(kms, "isAppAllowed", [{ ...BOOT_INFO, appId: target().address, ...change }])).toEqual(answer);
});

test("isAppAllowed follows the app's owner: hash allowed, revoked, allowed again", async () => {
  const bootInfo = { ...BOOT_INFO, appId: app.address };
  await send(appOwner, app, "removeComposeHash", [composeHash]);
  expect(await ask(kms, "isAppAllowed", [bootInfo])).toEqual([false, "Compose hash not allowed"]);
  await send(appOwner, app, "addComposeHash", [composeHash]);
  expect(await ask(kms, "isAppAllowed", [bootInfo])).toEqual([true, ""]);
});

// K4
test("isAppAllowed accepts an app that was made elsewhere once it is registered", async () => {
  const { app: foreign } = await deployApp([appOwner, false, true, ZERO_WORD, composeHash]);
  const bootInfo = { ...BOOT_INFO, appId: foreign.address };
  expect(await ask(kms, "isAppAllowed", [bootInfo])).toEqual([false, "App not registered"]);
  const appId = foreign.address;
  expect(await send(stranger, kms, "registerApp", [appId])).toContainEqual([kms.address, "AppRegistered", { appId }]);
  expect(await ask(kms, "registeredApps", [appId])).toBe(true);
  expect(await ask(kms, "isAppAllowed", [bootInfo])).toEqual([true, ""]);
});

// Run-time code of an app contract, and what the question about it comes to: an answer, or a revert of the outer call.
const YES: Hex = "0x6001600052604060205260606000f3";
const MISBEHAVING: readonly (readonly [string, Hex, unknown])[] = [
  ["no code", "0x", [false, "App not deployed or invalid address"]],
  ["code that always says yes", YES, [true, ""]],
  ["code that delegates as EIP-7702 accounts do", `0xef0100${"00".repeat(20)}`, "revert"],
  ["code that reverts", "0x60006000fd", "revert"],
  ["code that burns all gas", "0xfe", "revert"],
  ["code that returns nothing", "0x00", "revert"],
  ["code that returns a boolean alone", "0x600160005260206000f3", "revert"],
  ["code that returns 2 as its boolean", "0x6002600052604060205260606000f3", "revert"],
  ["code whose reason lies outside of its answer", "0x600160005261ffff60205260606000f3", "revert"],
  ["code that writes before it says yes", "0x60016000556001600052604060205260606000f3", "revert"],
];

test.each(MISBEHAVING)("isAppAllowed on %s", async (_name, code, expected) => {
  const appId = stranger;
  const snapshot = await networkHelpers.takeSnapshot();
  await send(owner, kms, "registerApp", [appId]);
  await networkHelpers.setCode(appId, code);
  const bootInfo = { ...BOOT_INFO, appId };
  if (expected === "revert") expect(await refusal(owner, kms, "isAppAllowed", [bootInfo])).toBe("");
  else expect(await ask(kms, "isAppAllowed", [bootInfo])).toEqual(expected);
  await snapshot.restore();
});

test("the implementations themselves allow nothing", async () => {
  expect(await ask({ address: appImplementation, abi: appAbi }, "isAppAllowed", [BOOT_INFO])).toEqual([
    false,
    "Compose hash not allowed",
  ]);
});
