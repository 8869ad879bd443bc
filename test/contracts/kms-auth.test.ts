/** KmsAuth: set-up, every setter with its logs, app registration, ownership. */
import { encodeFunctionData, type Hex, keccak256, toHex } from "viem";
import { expect, test } from "vitest";
import {
  appImplementation,
  appOwner,
  ask,
  deployProxy,
  kms,
  kmsAbi,
  kmsImplementation,
  owner,
  padded,
  policyChanged,
  refusal,
  restoreAfterEach,
  type SetterRow,
  send,
  storageAt,
  stranger,
  unauthorized,
  word,
  ZERO_ADDRESS,
  ZERO_WORD,
} from "./trust-domain.ts";

const K256: Hex = `0x02${"11".repeat(32)}`;
const INFO = { k256Pubkey: K256, caPubkey: toHex("ca key"), quote: toHex("a quote ".repeat(20)), eventlog: toHex("[]") } as const;
const GATEWAY = "0x1234567890123456789012345678901234567890";
const initializeData = (...args: readonly unknown[]) => encodeFunctionData({ abi: kmsAbi, functionName: "initialize", args });

restoreAfterEach();

// K1 U1
test.each([
  ["with an app implementation", appImplementation],
  ["without an app implementation", ZERO_ADDRESS],
] as const)("initializes as it is built, %s", async (_name, implementation) => {
  const { address, logs } = await deployProxy(kmsImplementation, initializeData(appOwner, implementation));
  const proxy = { address, abi: kmsAbi };
  const set =
    implementation === ZERO_ADDRESS
      ? []
      : [
          [address, "AppImplementationSet", { implementation }],
          policyChanged(address, owner, "app-implementation", padded(implementation), true),
        ];
  expect(logs).toEqual([
    [address, "Upgraded", { implementation: kmsImplementation }],
    [address, "OwnershipTransferred", { previousOwner: ZERO_ADDRESS, newOwner: appOwner }],
    ...set,
    [address, "Initialized", { version: 1n }],
  ]);
  expect(await ask(proxy, "owner")).toBe(appOwner);
  expect(await ask(proxy, "appImplementation")).toBe(implementation);
  expect(await ask(proxy, "appAuthImplementation")).toBe(implementation);
});

test("refuses a zero owner, a second initialization, and one of the implementation", async () => {
  await expect(deployProxy(kmsImplementation, initializeData(ZERO_ADDRESS, appImplementation))).rejects.toThrow(
    "OwnableInvalidOwner",
  );
  for (const target of [kms, { address: kmsImplementation, abi: kmsAbi }]) {
    expect(await refusal(owner, target, "initialize", [stranger, appImplementation])).toBe("InvalidInitialization()");
  }
});

const MR = word("aggregated mr");
const DEVICE = word("device");
const IMAGE = word("os image");
const IMPLEMENTATION = padded(stranger);
// The last member is what the getter answers afterwards.
const SETTERS: readonly (readonly [...SetterRow, unknown])[] = [
  [
    "addKmsAggregatedMr",
    [MR],
    "KmsAggregatedMrAdded",
    { mrAggregated: MR },
    "kms-aggregated-mr",
    MR,
    true,
    "kmsAllowedAggregatedMrs",
    [MR],
    true,
  ],
  [
    "removeKmsAggregatedMr",
    [MR],
    "KmsAggregatedMrRemoved",
    { mrAggregated: MR },
    "kms-aggregated-mr",
    MR,
    false,
    "kmsAllowedAggregatedMrs",
    [MR],
    false,
  ],
  [
    "addKmsDevice",
    [DEVICE],
    "KmsDeviceAdded",
    { deviceId: DEVICE },
    "kms-device",
    DEVICE,
    true,
    "kmsAllowedDeviceIds",
    [DEVICE],
    true,
  ],
  [
    "removeKmsDevice",
    [DEVICE],
    "KmsDeviceRemoved",
    { deviceId: DEVICE },
    "kms-device",
    DEVICE,
    false,
    "kmsAllowedDeviceIds",
    [DEVICE],
    false,
  ],
  [
    "addOsImageHash",
    [IMAGE],
    "OsImageHashAdded",
    { osImageHash: IMAGE },
    "os-image",
    IMAGE,
    true,
    "allowedOsImages",
    [IMAGE],
    true,
  ],
  [
    "removeOsImageHash",
    [IMAGE],
    "OsImageHashRemoved",
    { osImageHash: IMAGE },
    "os-image",
    IMAGE,
    false,
    "allowedOsImages",
    [IMAGE],
    false,
  ],
  [
    "setGatewayAppId",
    [GATEWAY],
    "GatewayAppIdSet",
    { gatewayAppId: GATEWAY },
    "gateway-app-id",
    keccak256(toHex(GATEWAY)),
    true,
    "gatewayAppId",
    [],
    GATEWAY,
  ],
  [
    "setGatewayAppId",
    [""],
    "GatewayAppIdSet",
    { gatewayAppId: "" },
    "gateway-app-id",
    keccak256("0x"),
    true,
    "gatewayAppId",
    [],
    "",
  ],
  [
    "setAppImplementation",
    [stranger],
    "AppImplementationSet",
    { implementation: stranger },
    "app-implementation",
    IMPLEMENTATION,
    true,
    "appImplementation",
    [],
    stranger,
  ],
  [
    "setKmsInfo",
    [INFO],
    "KmsInfoSet",
    { k256Pubkey: K256 },
    "kms-info",
    keccak256(K256),
    true,
    "kmsInfo",
    [],
    Object.values(INFO),
  ],
];

// K2 K3 K6
test.each(SETTERS)("%s(%s) is the owner's, emits %s each time, and the getter follows", async (...row) => {
  const [setter, args, event, eventArgs, policy, value, enabled, getter, getterArgs, expected] = row;
  if (!enabled) await send(owner, kms, setter.replace("remove", "add"), args);
  if (setter === "setGatewayAppId") await send(owner, kms, setter, ["an earlier gateway"]);
  const before = await ask(kms, getter, getterArgs);
  expect(before).not.toEqual(expected);
  expect(await refusal(stranger, kms, setter, args)).toBe(unauthorized(stranger));
  expect(await ask(kms, getter, getterArgs)).toEqual(before);
  for (let repeat = 0; repeat < 2; repeat += 1) {
    expect(await send(owner, kms, setter, args)).toEqual([
      [kms.address, event, eventArgs],
      policyChanged(kms.address, owner, policy, value, enabled),
    ]);
    expect(await ask(kms, getter, getterArgs)).toEqual(expected);
  }
});

// K7
test.each([
  ["setKmsQuote", toHex("another quote"), { ...INFO, quote: toHex("another quote") }],
  ["setKmsEventlog", toHex("another log"), { ...INFO, eventlog: toHex("another log") }],
] as const)("%s is the owner's, changes only its member, and emits nothing", async (setter, value, expected) => {
  await send(owner, kms, "setKmsInfo", [INFO]);
  expect(await refusal(stranger, kms, setter, [value])).toBe(unauthorized(stranger));
  expect(await send(owner, kms, setter, [value])).toEqual([]);
  expect(await ask(kms, "kmsInfo")).toEqual(Object.values(expected));
});

test("refuses a zero app implementation", async () => {
  expect(await refusal(owner, kms, "setAppImplementation", [ZERO_ADDRESS])).toBe("Invalid implementation address");
});

test("anyone registers any app id but zero, as often as they like", async () => {
  expect(await refusal(stranger, kms, "registerApp", [ZERO_ADDRESS])).toBe("Invalid app ID");
  for (let repeat = 0; repeat < 2; repeat += 1) {
    expect(await send(stranger, kms, "registerApp", [appOwner])).toEqual([
      [kms.address, "AppRegistered", { appId: appOwner }],
      policyChanged(kms.address, stranger, "registered-app", padded(appOwner), true),
    ]);
    expect(await ask(kms, "registeredApps", [appOwner])).toBe(true);
  }
});

test("refuses plain ether and unknown functions without data", async () => {
  const unknown = {
    address: kms.address,
    abi: [{ type: "function", name: "addImage", inputs: [], outputs: [], stateMutability: "payable" }],
  } as const;
  expect(await refusal(owner, unknown, "addImage")).toBe("");
  expect(await refusal(owner, unknown, "addImage", [], 1n)).toBe("");
});

// K11
test("ownership moves in two steps, and a later candidate replaces an earlier one", async () => {
  expect(await refusal(stranger, kms, "transferOwnership", [stranger])).toBe(unauthorized(stranger));
  expect(await refusal(stranger, kms, "acceptOwnership")).toBe(unauthorized(stranger));
  await send(owner, kms, "transferOwnership", [stranger]);
  expect([await ask(kms, "owner"), await ask(kms, "pendingOwner")]).toEqual([owner, stranger]);
  await send(owner, kms, "transferOwnership", [appOwner]);
  expect(await refusal(stranger, kms, "acceptOwnership")).toBe(unauthorized(stranger));
  expect(await refusal(owner, kms, "acceptOwnership")).toBe(unauthorized(owner));
  await send(appOwner, kms, "acceptOwnership");
  expect([await ask(kms, "owner"), await ask(kms, "pendingOwner")]).toEqual([appOwner, ZERO_ADDRESS]);
  expect(await refusal(owner, kms, "addOsImageHash", [IMAGE])).toBe(unauthorized(owner));
  await send(appOwner, kms, "addOsImageHash", [IMAGE]);
  expect(await ask(kms, "allowedOsImages", [IMAGE])).toBe(true);
});

test("renouncing leaves the trust domain without an owner or a candidate", async () => {
  expect(await refusal(stranger, kms, "renounceOwnership")).toBe(unauthorized(stranger));
  await send(owner, kms, "transferOwnership", [stranger]);
  await send(owner, kms, "renounceOwnership");
  expect([await ask(kms, "owner"), await ask(kms, "pendingOwner")]).toEqual([ZERO_ADDRESS, ZERO_ADDRESS]);
});

test("the slots of the gap stay zero when everything else is set", async () => {
  for (const [setter, args] of SETTERS) await send(owner, kms, setter, args);
  for (const slot of [10, 11, 35, 58, 59]) expect(await storageAt(kms.address, slot)).toBe(ZERO_WORD);
  expect(await storageAt(kms.address, 9)).toBe(padded(stranger));
});
