/** Input that strict mode refuses by a typed error with what it expected and what came; compatible mode takes the same. */
import { encodeFunctionData } from "viem";
import { expect, test } from "vitest";
import { foreignApp } from "./strict-changes.ts";
import { appOf, MODES, now, SWITCHES, strictKms } from "./strict-domain.ts";
import {
  appAbi,
  appImplementation,
  appOwner,
  type Contract,
  kms,
  kmsImplementation,
  networkHelpers,
  owner,
  refusal,
  restoreAfterEach,
  send,
  stranger,
  tag,
  unauthorized,
  word,
  ZERO_ADDRESS,
  ZERO_WORD,
} from "./trust-domain.ts";

restoreAfterEach();

const HASH = word("compose");
const zeroHash = (policy: string) => `ZeroHash(${tag(policy)})`;
const lengthOutOfRange = (policy: string, least: number, most: number, received: number) =>
  `LengthOutOfRange(${tag(policy)},${least},${most},${received})`;
const newApp = async (factory: Contract) => (await appOf(factory, [appOwner, false, false, false, ZERO_WORD, HASH])).app;

// Only the new errors; what a compatible trust domain does with the same input is the last column.
test.each([
  ["addKmsAggregatedMr", ZERO_WORD, zeroHash("kms-aggregated-mr"), undefined],
  ["addKmsDevice", ZERO_WORD, zeroHash("kms-device"), undefined],
  ["addOsImageHash", ZERO_WORD, zeroHash("os-image"), undefined],
  ["setGatewayAppId", "a".repeat(1025), lengthOutOfRange("gateway-app-id", 0, 1024, 1025), undefined],
  ["setGatewayAppId", "é".repeat(513), lengthOutOfRange("gateway-app-id", 0, 1024, 1026), undefined],
  ["setGatewayAppId", "a".repeat(1024), undefined, undefined],
  ["setAppImplementation", stranger, `NotAContract(${stranger})`, undefined],
  ["setAppImplementation", kmsImplementation, `MissingInterface(${kmsImplementation},0x`, undefined],
  ["setAppImplementation", foreignApp, `NotProxiable(${foreignApp},`, undefined],
  ["setAppImplementation", ZERO_ADDRESS, "Invalid implementation address", "Invalid implementation address"],
  ["registerApp", ZERO_ADDRESS, "Invalid app ID", "Invalid app ID"],
  ["registerApp", stranger, `NotAContract(${stranger})`, undefined],
] as const)("%s(%s), strict and compatible", async (setter, value, strict, compatible) => {
  const refused = await refusal(owner, strictKms, setter, [value]);
  if (strict === undefined) expect(refused).toBeUndefined();
  else expect(refused).toContain(strict);
  expect(await refusal(owner, kms, setter, [value])).toBe(compatible);
});

test("an app id has code of its own, not a delegation that its key can change, and answers as an app", async () => {
  await networkHelpers.setCode(stranger, `0xef0100${"11".repeat(20)}`);
  expect(await refusal(owner, strictKms, "registerApp", [stranger])).toBe(`NotAContract(${stranger})`);
  for (const code of ["0x00", "0x60006000fd", "0xfe", "0x600160005260206000f3"] as const) {
    await networkHelpers.setCode(stranger, code);
    expect(await refusal(owner, strictKms, "registerApp", [stranger])).toBe(`MissingInterface(${stranger},0x1e079198)`);
  }
  expect(await refusal(owner, strictKms, "registerApp", [foreignApp])).toBeUndefined();
});

test("only the owner registers what the factory did not make, and everyone uses the factory", async () => {
  expect(await refusal(stranger, strictKms, "registerApp", [foreignApp])).toBe(`RegistrationClosed(${owner},${stranger})`);
  expect(await refusal(stranger, strictKms, "registerApp", [ZERO_ADDRESS])).toBe("Invalid app ID");
  expect(await refusal(stranger, kms, "registerApp", [foreignApp])).toBeUndefined();
  expect(await refusal(stranger, strictKms, "deployAndRegisterApp", [appOwner, false, true, ZERO_WORD, HASH])).toBeUndefined();
});

test.each(["addComposeHash", "addDevice"])("a strict app refuses zero in %s, a compatible one lists it", async (setter) => {
  const policy = setter === "addDevice" ? "device" : "compose-hash";
  expect(await refusal(appOwner, await newApp(strictKms), setter, [ZERO_WORD])).toBe(zeroHash(policy));
  expect(await refusal(appOwner, await newApp(kms), setter, [ZERO_WORD])).toBeUndefined();
});

test("a zero that a compatible contract listed can be removed in strict mode", async () => {
  await send(owner, kms, "addOsImageHash", [ZERO_WORD]);
  await send(owner, kms, "setHardening", [SWITCHES.StrictChanges]);
  expect(await send(owner, kms, "removeOsImageHash", [ZERO_WORD])).toHaveLength(2);
});

test("nobody can leave a strict trust domain or app without an owner, and the owner error comes first", async () => {
  const app = await newApp(strictKms);
  for (const [target, holder] of [
    [strictKms, owner],
    [app, appOwner],
  ] as const) {
    expect(await refusal(stranger, target, "renounceOwnership")).toBe(unauthorized(stranger));
    expect(await refusal(holder, target, "renounceOwnership")).toBe("OwnershipCannotBeRenounced()");
  }
  expect(await refusal(owner, kms, "renounceOwnership")).toBeUndefined();
  expect(await refusal(appOwner, await newApp(kms), "renounceOwnership")).toBeUndefined();
});

test.each(MODES)("new functions of a %s trust domain refuse the same", async (_mode, target) => {
  const [time, most] = [await now(), 2n ** 64n - 1n];
  const next = time + 3600n;
  const rows: readonly (readonly [string, readonly unknown[], string])[] = [
    ["setHardening", [128n], "UnknownSwitches(127,128)"],
    ["setHardening", [2n ** 255n], `UnknownSwitches(127,${2n ** 255n})`],
    ["suspendApp", [ZERO_ADDRESS], `ZeroAddress(${tag("suspended-app")})`],
    ["setQuoteVerifier", [stranger], `NotAContract(${stranger})`],
    ["acceptTcbStatus", ["", next], lengthOutOfRange("tcb-status", 1, 64, 0)],
    ["acceptTcbStatus", ["a".repeat(65), next], lengthOutOfRange("tcb-status", 1, 64, 65)],
    ["acceptTcbStatus", ["UpToDate", next], "TcbStatusNotAcceptable(UpToDate)"],
    ["acceptTcbStatus", ["Revoked", next], "TcbStatusNotAcceptable(Revoked)"],
    ["acceptAdvisory", [""], lengthOutOfRange("tcb-advisory", 1, 64, 0)],
    ["acceptAdvisory", ["a".repeat(65)], lengthOutOfRange("tcb-advisory", 1, 64, 65)],
  ];
  for (const [call, args, expected] of rows) {
    expect([call, await refusal(owner, target, call, args)]).toEqual([call, expected]);
    expect(await refusal(stranger, target, call, args)).toBe(unauthorized(stranger));
  }
  for (const until of [0n, time - 1n, time + 731n * 86_400n, most]) {
    const refused = await refusal(owner, target, "acceptTcbStatus", ["OutOfDate", until]);
    expect(refused).toMatch(/^AcceptanceDateOutOfRange\(\d+,\d+,\d+\)$/);
    const [earliest = 0n, latest, received] = (refused ?? "").match(/\d+/g)?.map(BigInt) ?? [];
    expect([latest, received]).toEqual([earliest + 730n * 86_400n, until]);
  }
});

test.each(MODES)("an app of a %s trust domain has two switches, and refuses zero as a replacement", async (_mode, factory) => {
  const app = await newApp(factory);
  expect(await refusal(appOwner, app, "setHardening", [4n])).toBe("UnknownSwitches(3,4)");
  expect(await refusal(appOwner, app, "replaceComposeHash", [HASH, ZERO_WORD])).toBe(zeroHash("compose-hash"));
  expect(await refusal(appOwner, app, "acceptTcbStatus", ["", 0n])).toBe(lengthOutOfRange("tcb-status", 1, 64, 0));
  expect(await refusal(appOwner, app, "acceptAdvisory", [""])).toBe(lengthOutOfRange("tcb-advisory", 1, 64, 0));
});

test.each(MODES)("a batch for a %s trust domain is each call by its caller, all or none", async (_mode, target) => {
  const call = (functionName: string, args: readonly unknown[]) => encodeFunctionData({ ...target, functionName, args });
  const [image, device] = [call("addOsImageHash", [word("a")]), call("addKmsDevice", [word("b")])];
  expect(await refusal(stranger, target, "multicall", [[image]])).toBe(unauthorized(stranger));
  const logs = await send(owner, target, "multicall", [[image, device]]);
  expect(logs.map(([, event]) => event)).toEqual(["OsImageHashAdded", "PolicyChanged", "KmsDeviceAdded", "PolicyChanged"]);
  const bad = call("setHardening", [128n]);
  expect(await refusal(owner, target, "multicall", [[image, bad]])).toBe("UnknownSwitches(127,128)");
});

test("the implementations belong to nobody", async () => {
  for (const call of ["pause", "unpause"]) {
    expect(await refusal(owner, { ...kms, address: kmsImplementation }, call)).toBe(unauthorized(owner));
  }
  expect(await refusal(owner, { address: appImplementation, abi: appAbi }, "freezePolicy")).toBe(unauthorized(owner));
});
