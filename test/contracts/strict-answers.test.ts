/** What the new stops and acceptances make of both questions, in both modes: reasons, their order, and time. */
import { encodeAbiParameters, type Hex } from "viem";
import { beforeAll, expect, test } from "vitest";
import { appOf, MODES, now, strictKms } from "./strict-domain.ts";
import {
  appOwner,
  ask,
  BOOT_INFO,
  type Contract,
  networkHelpers,
  owner,
  refusal,
  restoreAfterEach,
  send,
  stranger,
  word,
  ZERO_ADDRESS,
} from "./trust-domain.ts";

const { composeHash, deviceId, mrAggregated, osImageHash } = BOOT_INFO;
const PAUSED = [false, "KMS is paused"];
const SUSPENDED = [false, "App is suspended"];
const OUTDATED = [false, "TCB status is not up to date"];
const ADVISORY_OPEN = [false, "TCB advisory is not accepted"];
const YES = [true, ""];
const DAY = 86_400n;
const [FIRST, SECOND] = BOOT_INFO.advisoryIds;
const behind = { ...BOOT_INFO, tcbStatus: "OutOfDate" };

const apps = new Map<string, Contract>();
const appOn = (mode: string): Contract => apps.get(mode) ?? { address: ZERO_ADDRESS, abi: [] };

beforeAll(async () => {
  for (const [mode, target] of MODES) {
    await send(owner, target, "addOsImageHash", [osImageHash]);
    await send(owner, target, "addKmsAggregatedMr", [mrAggregated]);
    await send(owner, target, "addKmsDevice", [deviceId]);
    apps.set(mode, (await appOf(target, [appOwner, false, true, false, deviceId, composeHash])).app);
  }
});
restoreAfterEach();

test.each(MODES)("a paused %s trust domain answers no to everything, and as before once it is not", async (mode, target) => {
  const { address: appId } = appOn(mode);
  const questions = [
    ["isKmsAllowed", BOOT_INFO],
    ["isKmsAllowed", { ...behind, osImageHash: word("x") }],
    ["isAppAllowed", { ...BOOT_INFO, appId }],
    ["isAppAllowed", { ...BOOT_INFO, appId: stranger }],
  ] as const;
  const answers = () => Promise.all(questions.map(([question, info]) => ask(target, question, [info])));
  const before = await answers();
  expect(before).toEqual([YES, OUTDATED, YES, [false, "App not registered"]]);
  await send(owner, target, "pause");
  expect(await answers()).toEqual([PAUSED, PAUSED, PAUSED, PAUSED]);
  expect(await ask(appOn(mode), "isAppAllowed", [BOOT_INFO])).toEqual(YES);
  await send(owner, target, "unpause");
  expect(await answers()).toEqual(before);
});

test.each(MODES)("a pause of a %s trust domain stops answers and nothing else", async (mode, target) => {
  await send(owner, target, "pause");
  expect(await send(owner, target, "removeOsImageHash", [osImageHash])).toHaveLength(2);
  await appOf(target, [appOwner, false, true, false, deviceId, composeHash]);
  expect(await send(appOwner, appOn(mode), "removeComposeHash", [composeHash])).toHaveLength(2);
});

test.each(MODES)(
  "a suspended app of a %s trust domain gets nothing whatever its contract says, until reinstated",
  async (mode, target) => {
    const { address: appId } = appOn(mode);
    const other = (await appOf(target, [appOwner, false, true, false, deviceId, composeHash])).app.address;
    await send(owner, target, "suspendApp", [appId]);
    await send(owner, target, "suspendApp", [stranger]);
    expect(await ask(target, "suspendedApps", [appId])).toBe(true);
    for (const [asked, answer] of [
      [{ appId }, SUSPENDED],
      [{ appId, osImageHash: word("x"), composeHash: word("x") }, SUSPENDED],
      [{ appId: stranger }, [false, "App not registered"]],
      [{ appId: other }, YES],
    ] as const) {
      expect(await ask(target, "isAppAllowed", [{ ...BOOT_INFO, ...asked }])).toEqual(answer);
    }
    expect(await ask(target, "isKmsAllowed", [{ ...BOOT_INFO, appId }])).toEqual(YES);
    await send(owner, target, "reinstateApp", [appId]);
    expect(await ask(target, "isAppAllowed", [{ ...BOOT_INFO, appId }])).toEqual(YES);
  },
);

// The trust domain answers for KMS nodes, each app for itself.
const tcbRules = MODES.flatMap(([mode, target]) => [
  [`a ${mode} trust domain`, () => target, "isKmsAllowed", owner] as const,
  [`an app of a ${mode} trust domain`, () => appOn(mode), "isAppAllowed", appOwner] as const,
]);

test.each(tcbRules)(
  "%s accepts a status until its last second, and each advisory by name",
  async (_name, find, question, holder) => {
    const target = find();
    const until = (await now()) + DAY;
    const answer = (info: object = behind) => ask(target, question, [info]);
    expect(await answer()).toEqual(OUTDATED);
    await send(holder, target, "acceptAdvisory", [FIRST]);
    expect(await answer()).toEqual(OUTDATED);
    await send(holder, target, "acceptTcbStatus", ["OutOfDate", until]);
    expect(await answer()).toEqual(ADVISORY_OPEN);
    expect(await answer({ ...behind, advisoryIds: [SECOND, FIRST] })).toEqual(ADVISORY_OPEN);
    expect(await answer({ ...behind, advisoryIds: [FIRST] })).toEqual(YES);
    expect(await answer({ ...behind, advisoryIds: [] })).toEqual(YES);
    await send(holder, target, "acceptAdvisory", [SECOND]);
    expect(await answer()).toEqual(YES);
    for (const tcbStatus of ["outofdate", "OutOfDate ", "OutOfDateConfigurationNeeded", "SWHardeningNeeded", "Revoked", ""]) {
      expect(await answer({ ...behind, tcbStatus })).toEqual(OUTDATED);
    }
    expect(await answer({ ...BOOT_INFO, advisoryIds: ["INTEL-SA-99999"] })).toEqual(YES);
    await networkHelpers.time.increaseTo(until);
    expect(await answer()).toEqual(YES);
    await networkHelpers.time.increaseTo(until + 1n);
    expect(await answer()).toEqual(OUTDATED);
    expect(await ask(target, "tcbStatusAcceptedUntil", ["OutOfDate"])).toBe(until);
  },
);

test.each(tcbRules)("%s takes an acceptance back at once", async (_name, find, question, holder) => {
  const target = find();
  const info = { ...behind, advisoryIds: [FIRST] };
  await send(holder, target, "acceptTcbStatus", ["OutOfDate", (await now()) + DAY]);
  await send(holder, target, "acceptAdvisory", [FIRST]);
  expect(await ask(target, question, [info])).toEqual(YES);
  await send(holder, target, "withdrawAdvisory", [FIRST]);
  expect(await ask(target, question, [info])).toEqual(ADVISORY_OPEN);
  await send(holder, target, "withdrawTcbStatus", ["OutOfDate"]);
  expect(await ask(target, question, [info])).toEqual(OUTDATED);
});

test("what the trust domain accepts is not accepted for its apps, nor the reverse", async () => {
  const until = (await now()) + DAY;
  await send(owner, strictKms, "acceptTcbStatus", ["OutOfDate", until]);
  const info = { ...behind, advisoryIds: [], appId: appOn("strict").address };
  expect(await ask(strictKms, "isAppAllowed", [info])).toEqual(OUTDATED);
  await send(owner, strictKms, "withdrawTcbStatus", ["OutOfDate"]);
  await send(appOwner, appOn("strict"), "acceptTcbStatus", ["OutOfDate", until]);
  expect(await ask(strictKms, "isAppAllowed", [info])).toEqual(YES);
  expect(await ask(strictKms, "isKmsAllowed", [info])).toEqual(OUTDATED);
});

test("the acceptance of a status changes no other rule's reason", async () => {
  await send(owner, strictKms, "acceptTcbStatus", ["OutOfDate", (await now()) + DAY]);
  const info = { ...behind, advisoryIds: [], osImageHash: word("x") };
  expect(await ask(strictKms, "isKmsAllowed", [info])).toEqual([false, "OS image is not allowed"]);
});

const answerOf = (allowed: boolean, reason: string): Hex =>
  encodeAbiParameters([{ type: "bool" }, { type: "string" }], [allowed, reason]);
const FAILED = [false, "App contract failed"];
const MALFORMED = [false, "App contract answer is malformed"];

/** Run-time code that returns the bytes that follow it. */
function returning(data: Hex): Hex {
  const length = ((data.length - 2) / 2).toString(16).padStart(4, "0");
  return `0x61${length}80600a5f395ff3${data.slice(2)}`;
}

// Run-time code of an app contract, then what a strict trust domain answers, then whether a compatible one reverts.
test.each([
  ["says yes", returning(answerOf(true, "")), YES, false],
  ["says no with a reason", returning(answerOf(false, "because")), [false, "because"], false],
  ["reverts", "0x60006000fd", FAILED, true],
  ["burns all gas", "0xfe", FAILED, true],
  ["writes first", "0x60016000556001600052604060205260606000f3", FAILED, true],
  ["returns nothing", "0x00", MALFORMED, true],
  ["returns a boolean alone", "0x600160005260206000f3", MALFORMED, true],
  ["returns 2 as its boolean", "0x6002600052604060205260606000f3", MALFORMED, true],
  ["has its reason outside of its answer", "0x600160005261ffff60205260606000f3", MALFORMED, true],
  ["delegates as EIP-7702 accounts do", `0xef0100${"00".repeat(20)}`, MALFORMED, true],
  ["has gone", "0x", [false, "App not deployed or invalid address"], false],
] as const)("an app contract that %s", async (_name, code, strict, compatibleReverts) => {
  for (const [mode, target] of MODES) {
    const { address: appId } = appOn(mode);
    await networkHelpers.setCode(appId, code);
    const info = { ...BOOT_INFO, appId };
    if (mode === "compatible" && compatibleReverts) expect(await refusal(owner, target, "isAppAllowed", [info])).toBe("");
    else expect(await ask(target, "isAppAllowed", [info])).toEqual(strict);
  }
});

test("an answer may have 4,096 bytes in strict mode, and any size in compatible mode", async () => {
  for (const [mode, target] of MODES) {
    const { address: appId } = appOn(mode);
    for (const length of [4000, 4001]) {
      const reason = "a".repeat(length); // 96 bytes come with it, and it is padded to whole words
      await networkHelpers.setCode(appId, returning(answerOf(false, reason)));
      const expected = mode === "strict" && length > 4000 ? MALFORMED : [false, reason];
      expect(await ask(target, "isAppAllowed", [{ ...BOOT_INFO, appId }])).toEqual(expected);
    }
  }
});
