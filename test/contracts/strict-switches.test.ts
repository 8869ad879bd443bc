/** An upgraded proxy stays compatible; then each switch turned on alone changes its own behaviour and no other. */
import { readFileSync } from "node:fs";
import type { Hex } from "viem";
import { expect, test } from "vitest";
import { foreignApp } from "./strict-changes.ts";
import { ALL_APP_SWITCHES, ALL_KMS_SWITCHES, appOf, bootstrapped, flipped, SWITCHES, strictKms } from "./strict-domain.ts";
import {
  appAbi,
  appImplementation,
  appOwner,
  ask,
  BOOT_INFO,
  type Contract,
  deployApp,
  deployImplementation,
  kms,
  kmsAbi,
  kmsImplementation,
  networkHelpers,
  owner,
  refusal,
  restoreAfterEach,
  send,
  storageAt,
  stranger,
  word,
  ZERO_WORD,
} from "./trust-domain.ts";
import { place } from "./written-proxy.ts";

const { composeHash: HASH, osImageHash: IMAGE } = BOOT_INFO;
const INFO = bootstrapped(7);
const UNBOUND = { ...INFO, quote: flipped(INFO.quote, 568) };
const [nextKms, nextApp] = [(await deployImplementation("KmsAuth")).address, (await deployImplementation("AppAuth")).address];
/** Answers every question of ERC-165 with no, and any other call with nothing. */
const NO_APP: Hex = "0x60006000fd";

restoreAfterEach();

const heard = async (from: Hex, target: Contract, call: string, args: readonly unknown[]): Promise<boolean> =>
  (await send(from, target, call, args)).length > 0;

/** For each switch, whether what it governs shows the strict behaviour. */
const SHOWS: Readonly<Record<keyof typeof SWITCHES, (target: Contract) => Promise<boolean>>> = {
  StrictChanges: async (target) => {
    await send(owner, target, "addKmsDevice", [word("a device")]);
    const quiet = !(await heard(owner, target, "addKmsDevice", [word("a device")]));
    const refuses = (await refusal(owner, target, "addOsImageHash", [ZERO_WORD])) !== undefined;
    const long = (await refusal(owner, target, "setGatewayAppId", ["a".repeat(1025)])) !== undefined;
    expect([refuses, long]).toEqual([quiet, quiet]);
    return quiet;
  },
  KeepOwner: async (target) => (await refusal(owner, target, "renounceOwnership")) !== undefined,
  CheckRootKeys: async (target) => {
    const checked = (await refusal(owner, target, "setKmsInfo", [UNBOUND])) !== undefined;
    await send(owner, target, "setKmsInfo", [INFO]);
    expect(await ask(target, "kmsInfo")).toEqual(Object.values(INFO));
    expect((await storageAt(target.address, 2)) === ZERO_WORD).toBe(checked);
    expect(await heard(owner, target, "setKmsEventlog", ["0x"])).toBe(checked);
    return checked;
  },
  FactoryOnly: async (target) => (await refusal(stranger, target, "registerApp", [foreignApp])) !== undefined,
  CheckContracts: async (target) => {
    const checked = (await refusal(owner, target, "registerApp", [appOwner])) !== undefined;
    const refused = await refusal(owner, target, "setAppImplementation", [stranger]);
    expect(refused?.startsWith("NotAContract") ?? false).toBe(checked);
    return checked;
  },
  BoundedAppCalls: async (target) => {
    const { app } = await appOf(target, [appOwner, false, true, ZERO_WORD, HASH]);
    await send(owner, target, "addOsImageHash", [IMAGE]);
    await networkHelpers.setCode(app.address, NO_APP);
    return (await refusal(owner, target, "isAppAllowed", [{ ...BOOT_INFO, appId: app.address }])) === undefined;
  },
  StrictApps: async (target) => {
    const { app } = await appOf(target, [appOwner, false, true, ZERO_WORD, HASH]);
    const strict = (await ask(app, "hardening")) === ALL_APP_SWITCHES;
    // Answers as an app and can be upgraded to, but has no strict initializer.
    expect((await refusal(owner, target, "setAppImplementation", [kmsImplementation])) !== undefined).toBe(strict);
    return strict;
  },
};

/** The names of the switches whose behaviour shows, each looked at on the chain as it was. */
async function shown(target: Contract): Promise<string[]> {
  const names: string[] = [];
  for (const [name, shows] of Object.entries(SHOWS)) {
    const snapshot = await networkHelpers.takeSnapshot();
    if (await shows(target)) names.push(name);
    await snapshot.restore();
  }
  return names;
}

async function upgraded(): Promise<Contract> {
  await send(owner, kms, "upgradeToAndCall", [nextKms, "0x"]);
  return kms;
}

test("an upgraded trust domain shows no strict behaviour, and one deployed strictly shows all", async () => {
  const target = await upgraded();
  expect(await ask(target, "hardening")).toBe(0n);
  expect(await shown(target)).toEqual([]);
  expect(await shown(strictKms)).toEqual(Object.keys(SWITCHES));
});

test.each(Object.entries(SWITCHES))(
  "the switch %s, turned on alone, changes its own behaviour and no other",
  async (name, bit) => {
    const target = await upgraded();
    await send(owner, target, "setHardening", [bit]);
    expect(await ask(target, "hardening")).toBe(bit);
    expect(await shown(target)).toEqual([name]);
    await send(owner, target, "setHardening", [0n]);
    expect(await shown(target)).toEqual([]);
  },
);

test.each(Object.entries(SWITCHES))("with all but %s, all others show theirs", async (name, bit) => {
  const target = await upgraded();
  await send(owner, target, "setHardening", [ALL_KMS_SWITCHES - bit]);
  expect(await shown(target)).toEqual(Object.keys(SWITCHES).filter((other) => other !== name));
});

test("the bits are the positions of the names in the interface", () => {
  const source = readFileSync(new URL("../../contracts/interfaces/IHardening.sol", import.meta.url), "utf8");
  const names = (/enum Switch \{([^}]*)\}/.exec(source)?.[1] ?? "").split(",").map((name) => name.trim());
  expect(Object.fromEntries(names.map((name, position) => [name, 1n << BigInt(position)]))).toEqual(SWITCHES);
});

test("an upgraded app stays compatible, and its two switches change only their own behaviour", async () => {
  const { app } = await deployApp([appOwner, false, true, ZERO_WORD, HASH]);
  await send(appOwner, app, "upgradeToAndCall", [nextApp, "0x"]);
  const strictChanges = async () => {
    const silent = !(await heard(appOwner, app, "addComposeHash", [HASH]));
    expect((await refusal(appOwner, app, "addDevice", [ZERO_WORD])) !== undefined).toBe(silent);
    expect(await heard(appOwner, app, "setAllowAnyDevice", [true])).toBe(!silent);
    return silent;
  };
  const keepOwner = async () => (await refusal(appOwner, app, "renounceOwnership")) !== undefined;
  for (const bits of [0n, 1n, 2n, 3n, 0n]) {
    await send(appOwner, app, "setHardening", [bits]);
    expect(await ask(app, "hardening")).toBe(bits);
    expect([await strictChanges(), await keepOwner()]).toEqual([(bits & 1n) === 1n, (bits & 2n) === 2n]);
  }
});

test("a switch that an earlier setting cannot satisfy is refused while it is", async () => {
  await send(owner, kms, "setAppImplementation", [stranger]);
  for (const bit of [SWITCHES.CheckContracts, SWITCHES.StrictApps]) {
    expect(await refusal(owner, kms, "setHardening", [bit])).toMatch(/^(NotAContract|MissingInterface)\(/);
  }
  await send(owner, kms, "setAppImplementation", [appImplementation]);
  expect(await refusal(owner, kms, "setHardening", [ALL_KMS_SWITCHES])).toBeUndefined();
});

test("turning the switches on leaves what compatible mode registered registered", async () => {
  await send(stranger, kms, "registerApp", [stranger]);
  await send(owner, kms, "setHardening", [ALL_KMS_SWITCHES]);
  expect(await ask(kms, "registeredApps", [stranger])).toBe(true);
  await send(owner, kms, "addOsImageHash", [IMAGE]);
  expect(await ask(kms, "isAppAllowed", [{ ...BOOT_INFO, appId: stranger }])).toEqual([
    false,
    "App not deployed or invalid address",
  ]);
});

test("a proxy whose storage is all zero is compatible", async () => {
  for (const [abi, implementation] of [
    [kmsAbi, nextKms],
    [appAbi, nextApp],
  ] as const) {
    const proxy = { address: stranger, abi };
    await place(proxy, implementation, {});
    expect(await ask(proxy, "hardening")).toBe(0n);
  }
});
