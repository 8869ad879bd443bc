/** Every change in strict mode: its own event, one audit event, then silence while nothing changes. New functions do so in both modes. */
import type { Hex } from "viem";
import { expect, test } from "vitest";
import {
  ADVISORY,
  APP_CHANGES,
  type Change,
  KMS_CHANGES,
  NEW_APP_CHANGES,
  NEW_KMS_CHANGES,
  nextApp,
  OUT_OF_DATE,
  text,
  UNTIL,
} from "./strict-changes.ts";
import { appOf, deployStrictApp, MODES, strictKms } from "./strict-domain.ts";
import {
  appOwner,
  ask,
  BOOT_INFO,
  type Contract,
  owner,
  policyChanged,
  refusal,
  restoreAfterEach,
  send,
  stranger,
  unauthorized,
  word,
  ZERO_WORD,
} from "./trust-domain.ts";

const { deviceId: DEVICE, composeHash: HASH } = BOOT_INFO;

restoreAfterEach();

async function expectOneChange(target: Contract, holder: Hex, change: Change): Promise<void> {
  const [setter, args, event, eventArgs, policy, value, enabled, getter, getterArgs, first] = change;
  if (first !== undefined) await send(holder, target, ...first);
  const before = await ask(target, getter, getterArgs);
  const closed = setter === "registerApp" ? `RegistrationClosed(${owner},${stranger})` : unauthorized(stranger);
  expect(await refusal(stranger, target, setter, args)).toBe(closed);
  expect(await send(holder, target, setter, args)).toEqual([
    [target.address, event, eventArgs],
    policyChanged(target.address, holder, policy, value, enabled),
  ]);
  const after = await ask(target, getter, getterArgs);
  expect(after).not.toEqual(before);
  expect(await send(holder, target, setter, args)).toEqual([]);
  expect(await ask(target, getter, getterArgs)).toEqual(after);
}

const named = (changes: readonly Change[]) => changes.map((change) => [change[0], change[1], change] as const);
const inBothModes = (changes: readonly Change[]) =>
  MODES.flatMap(([mode, kms]) => named(changes).map((change) => [mode, ...change, kms] as const));

test.each(named(KMS_CHANGES))("a strict trust domain, %s(%s): heard once, then silence", (_setter, _args, change) =>
  expectOneChange(strictKms, owner, change),
);

test.each(named(APP_CHANGES))("a strict app, %s(%s): heard once, then silence", async (_setter, _args, change) => {
  const { app } = await deployStrictApp([appOwner, false, false, false, ZERO_WORD, ZERO_WORD]);
  await expectOneChange(app, appOwner, change);
});

test.each(inBothModes(NEW_KMS_CHANGES))(
  "a %s trust domain, %s(%s): heard once, then silence",
  (_mode, _setter, _args, change, kms) => expectOneChange(kms, owner, change),
);

test.each(inBothModes(NEW_APP_CHANGES))(
  "an app of a %s trust domain, %s(%s): heard once, then silence",
  async (_mode, _setter, _args, change, kms) => {
    const { app } = await appOf(kms, [appOwner, false, false, false, ZERO_WORD, ZERO_WORD]);
    await expectOneChange(app, appOwner, change);
  },
);

test.each(MODES)("removing what is not there is silent in strict mode alone: a %s trust domain", async (mode, kms) => {
  const { app } = await appOf(kms, [appOwner, false, false, false, ZERO_WORD, ZERO_WORD]);
  const heard: number[] = [];
  for (const removal of ["removeKmsAggregatedMr", "removeKmsDevice", "removeOsImageHash"]) {
    for (const value of [word("never listed"), ZERO_WORD]) heard.push((await send(owner, kms, removal, [value])).length);
  }
  for (const removal of ["removeComposeHash", "removeDevice"]) {
    for (const value of [word("never listed"), ZERO_WORD]) heard.push((await send(appOwner, app, removal, [value])).length);
  }
  expect(heard).toEqual(heard.map(() => (mode === "strict" ? 0 : 2)));
});

test.each(MODES)("an app of a %s trust domain replaces a compose hash by another in one call", async (_mode, kms) => {
  const { app } = await appOf(kms, [appOwner, false, false, true, ZERO_WORD, HASH]);
  const next = word("next compose");
  expect(await refusal(stranger, app, "replaceComposeHash", [HASH, next])).toBe(unauthorized(stranger));
  expect(await send(appOwner, app, "replaceComposeHash", [HASH, next])).toEqual([
    [app.address, "ComposeHashRemoved", { composeHash: HASH }],
    policyChanged(app.address, appOwner, "compose-hash", HASH, false),
    [app.address, "ComposeHashAdded", { composeHash: next }],
    policyChanged(app.address, appOwner, "compose-hash", next, true),
  ]);
  expect(await refusal(appOwner, app, "replaceComposeHash", [HASH, word("third")])).toBe(`ComposeHashNotListed(${HASH})`);
  expect(await refusal(appOwner, app, "replaceComposeHash", [next, next])).toBe(`ComposeHashAlreadyListed(${next})`);
});

test.each(MODES)("a frozen app of a %s trust domain changes no rule in any way, and answers on", async (_mode, kms) => {
  const { app } = await appOf(kms, [appOwner, false, false, true, DEVICE, HASH]);
  await send(appOwner, app, "freezePolicy");
  const frozen: readonly (readonly [string, readonly unknown[]])[] = [
    ["addComposeHash", [word("next")]],
    ["removeComposeHash", [HASH]],
    ["replaceComposeHash", [HASH, word("next")]],
    ["addDevice", [word("next")]],
    ["removeDevice", [DEVICE]],
    ["setAllowAnyDevice", [false]],
    ["setRequireTcbUpToDate", [true]],
    ["acceptTcbStatus", [OUT_OF_DATE, UNTIL]],
    ["withdrawTcbStatus", [OUT_OF_DATE]],
    ["acceptAdvisory", [ADVISORY]],
    ["withdrawAdvisory", [ADVISORY]],
  ];
  for (const [setter, args] of frozen) {
    expect([setter, await refusal(appOwner, app, setter, args)]).toEqual([setter, "PolicyIsFrozen()"]);
    expect(await refusal(stranger, app, setter, args)).toBe(unauthorized(stranger));
  }
  expect(await ask(app, "isAppAllowed", [BOOT_INFO])).toEqual([true, ""]);
  await send(appOwner, app, "disableUpgrades");
  expect(await refusal(appOwner, app, "upgradeToAndCall", [nextApp, "0x"])).toBe("Upgrades are permanently disabled");
});

test("a repeated acceptance of a status moves its date, and says so", async () => {
  await send(owner, strictKms, "acceptTcbStatus", [OUT_OF_DATE, UNTIL]);
  expect(await send(owner, strictKms, "acceptTcbStatus", [OUT_OF_DATE, UNTIL + 1n])).toEqual([
    [strictKms.address, "TcbStatusAccepted", { tcbStatus: OUT_OF_DATE, until: UNTIL + 1n }],
    policyChanged(strictKms.address, owner, "tcb-status", text(OUT_OF_DATE), true),
  ]);
  expect(await ask(strictKms, "tcbStatusAcceptedUntil", [OUT_OF_DATE])).toBe(UNTIL + 1n);
});
