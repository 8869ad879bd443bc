/** The operations whose gas is compared, each from the state that its name tells. */
import type { Address } from "viem";
import { type Costs, createGasChain, type GasChain, type ProxyContract } from "./gas-chain.ts";
import { measureStrict } from "./gas-strict.ts";
import {
  APP_LISTS,
  DEVICE,
  filled,
  HASH,
  IMAGE,
  type Implementations,
  KMS_LISTS,
  keys,
  longId,
  MR,
  OTHER,
  withQuote,
  word,
  ZERO,
  ZERO_ADDRESS,
} from "./gas-values.ts";

export async function measureGas(): Promise<Costs> {
  const chain = await createGasChain();
  const on: Implementations = {
    app: await chain.deploy("AppAuth", [], "deploy AppAuth implementation"),
    kms: await chain.deploy("KmsAuth", [], "deploy KmsAuth implementation"),
    next: { app: await chain.deploy("AppAuth", []), kms: await chain.deploy("KmsAuth", []) },
  };
  await measureDeployments(chain, on);
  await measureKmsLists(chain, on);
  await measureKmsSetters(chain, on);
  await measureEvidence(chain, on);
  await measureApp(chain, on);
  await measureViews(chain, on);
  await measureStrict(chain, on);
  return chain.costs;
}

const newKms = (chain: GasChain, on: Implementations, operation?: string) =>
  chain.proxy("KmsAuth", on.kms, [chain.owner, on.app], operation);

async function measureDeployments(chain: GasChain, on: Implementations): Promise<void> {
  const { owner } = chain;
  const kms = await newKms(chain, on, "deploy KMS proxy with owner and app implementation");
  await chain.proxy("KmsAuth", on.kms, [owner, ZERO_ADDRESS], "deploy KMS proxy with owner only");
  const app = [owner, false, true, false, DEVICE, HASH];
  await chain.proxy("AppAuth", on.app, app, "stand-alone app proxy, device and hash, TCB on");
  for (const [args, operation] of [
    [[owner, false, false, true, ZERO, ZERO], "deployAndRegisterApp 6 arguments, no device, no hash, any device"],
    [[owner, false, true, false, DEVICE, HASH], "deployAndRegisterApp 6 arguments, device and hash, TCB on"],
    [[owner, false, true, ZERO, HASH], "deployAndRegisterApp 5 arguments, hash, any device"],
    [[owner, false, false, DEVICE, HASH], "deployAndRegisterApp 5 arguments, device and hash"],
  ] as const) {
    await chain.send(kms, "deployAndRegisterApp", args, operation);
  }
}

async function measureKmsLists(chain: GasChain, on: Implementations): Promise<void> {
  const kms = await newKms(chain, on);
  for (const [call, arg, operation] of [
    ["registerApp", on.app, "registerApp new"],
    ["registerApp", on.app, "registerApp repeated"],
    ...KMS_LISTS,
  ] as const) {
    await chain.send(kms, call, [arg], operation);
  }
}

async function measureKmsSetters(chain: GasChain, on: Implementations): Promise<void> {
  const kms = await newKms(chain, on);
  await chain.send(kms, "setGatewayAppId", [longId("a")], "setGatewayAppId 42 characters, new");
  await chain.send(kms, "setGatewayAppId", [longId("b")], "setGatewayAppId 42 characters, overwrite");
  await chain.send(kms, "setGatewayAppId", ["any"], "setGatewayAppId 3 characters over a long value");
  await chain.send(kms, "setAppImplementation", [on.app], "setAppImplementation same value");
  await chain.send(kms, "upgradeToAndCall", [on.next.kms, "0x"], "KMS upgradeToAndCall, empty data");
}

async function measureEvidence(chain: GasChain, on: Implementations): Promise<void> {
  const [first, second, third, fourth] = [
    await newKms(chain, on),
    await newKms(chain, on),
    await newKms(chain, on),
    await newKms(chain, on),
  ];
  await chain.send(first, "setKmsInfo", [keys], "setKmsInfo keys only");
  await chain.send(second, "setKmsInfo", [withQuote], "setKmsInfo with 5,000 B quote, new");
  await chain.send(second, "setKmsInfo", [withQuote], "setKmsInfo with 5,000 B quote, identical overwrite");
  const whole = { ...withQuote, eventlog: filled(10_000) };
  await chain.send(third, "setKmsInfo", [whole], "setKmsInfo with 5,000 B quote and 10,000 B event log");
  await chain.send(fourth, "setKmsQuote", [filled(5000)], "setKmsQuote 5,000 B, new");
  await chain.send(fourth, "setKmsQuote", [filled(5000, "5a")], "setKmsQuote 5,000 B, different");
  await chain.send(fourth, "setKmsEventlog", [filled(4096)], "setKmsEventlog 4,096 B, new");
}

async function measureApp(chain: GasChain, on: Implementations): Promise<void> {
  const app = await chain.proxy("AppAuth", on.app, [chain.owner, false, true, ZERO, ZERO]);
  for (const [call, value, operation] of APP_LISTS) await chain.send(app, call, [value], operation);
  for (const [call, args, operation] of [
    ["setAllowAnyDevice", [false], "app setAllowAnyDevice off"],
    ["setAllowAnyDevice", [true], "app setAllowAnyDevice on"],
    ["setRequireTcbUpToDate", [true], "app setRequireTcbUpToDate on"],
    ["setRequireTcbUpToDate", [false], "app setRequireTcbUpToDate off"],
    ["upgradeToAndCall", [on.next.app, "0x"], "app upgradeToAndCall, empty data"],
    ["transferOwnership", [chain.stranger], "app transferOwnership"],
  ] as const) {
    await chain.send(app, call, args, operation);
  }
  await chain.send(app, "acceptOwnership", [], "app acceptOwnership", chain.stranger);
  const other = await chain.proxy("AppAuth", on.app, [chain.owner, false, false, ZERO, ZERO]);
  await chain.send(other, "disableUpgrades", [], "app disableUpgrades");
}

async function measureViews(chain: GasChain, on: Implementations): Promise<void> {
  const kms = await newKms(chain, on);
  const anyDevice = await chain.proxy("AppAuth", on.app, [chain.owner, false, true, ZERO, HASH]);
  const strict = await chain.proxy("AppAuth", on.app, [chain.owner, false, true, false, DEVICE, HASH]);
  const preparations: readonly (readonly [string, unknown])[] = [
    ["addOsImageHash", IMAGE],
    ["addKmsAggregatedMr", MR],
    ["addKmsDevice", DEVICE],
    ["registerApp", anyDevice.address],
    ["registerApp", strict.address],
    ["setGatewayAppId", "any"],
    ["setKmsInfo", { ...withQuote, eventlog: filled(4096) }],
  ];
  for (const [call, arg] of preparations) await chain.send(kms, call, [arg]);
  await chain.view(kms, "gatewayAppId", [], "gatewayAppId of 3 characters");
  await chain.view(kms, "kmsInfo", [], "kmsInfo with 5,000 B and 4,096 B");
  for (const [to, call, changes, operation] of questions(kms, anyDevice, strict)) {
    await chain.view(to, call, [{ ...bootInfo(anyDevice.address), ...changes }], operation);
  }
}

function questions(
  kms: ProxyContract,
  anyDevice: ProxyContract,
  strict: ProxyContract,
): readonly (readonly [ProxyContract, string, object, string])[] {
  const advisories = { advisoryIds: Array.from({ length: 10 }, (_, i) => `INTEL-SA-0000${i}`) };
  const asStrict = { appId: strict.address };
  return [
    [kms, "isKmsAllowed", {}, "isKmsAllowed allowed, no advisories"],
    [kms, "isKmsAllowed", advisories, "isKmsAllowed allowed, 10 advisories"],
    [kms, "isKmsAllowed", { tcbStatus: "OutOfDate" }, "isKmsAllowed denied at TCB"],
    [kms, "isKmsAllowed", { osImageHash: OTHER }, "isKmsAllowed denied at image"],
    [kms, "isKmsAllowed", { mrAggregated: OTHER }, "isKmsAllowed denied at MR"],
    [kms, "isKmsAllowed", { deviceId: OTHER }, "isKmsAllowed denied at device"],
    [kms, "isAppAllowed", {}, "KMS isAppAllowed allowed, any device, no advisories"],
    [kms, "isAppAllowed", advisories, "KMS isAppAllowed allowed, any device, 10 advisories"],
    [kms, "isAppAllowed", asStrict, "KMS isAppAllowed allowed, TCB and device checked"],
    [kms, "isAppAllowed", { appId: kms.address }, "KMS isAppAllowed denied at registration"],
    [kms, "isAppAllowed", { osImageHash: OTHER }, "KMS isAppAllowed denied at image"],
    [kms, "isAppAllowed", { composeHash: OTHER }, "KMS isAppAllowed denied at compose hash"],
    [kms, "isAppAllowed", { ...asStrict, deviceId: OTHER }, "KMS isAppAllowed denied at device"],
    [anyDevice, "isAppAllowed", {}, "app isAppAllowed allowed, any device"],
  ];
}

const bootInfo = (appId: Address) => ({
  appId,
  composeHash: HASH,
  instanceId: appId,
  deviceId: DEVICE,
  mrAggregated: MR,
  mrSystem: word("system mr"),
  osImageHash: IMAGE,
  tcbStatus: "UpToDate",
  advisoryIds: [],
});
