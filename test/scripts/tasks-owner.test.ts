/** The commands for what only strict contracts have: stops, TCB policy, switches, salts, checked root keys. */
import { getAddress, type Hex } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { parseBootstrapInfo } from "../../scripts/lib/bootstrap-info.ts";
import type { ChainSession } from "../../scripts/lib/chain-session.ts";
import { harden } from "../../scripts/lib/harden-action.ts";
import { appSwitches, kmsSwitches } from "../../scripts/lib/hardening.ts";
import { app, changeAsOwner, type Governable, type Plan, trustDomain } from "../../scripts/lib/owner-change.ts";
import { verifyBootstrap } from "../../scripts/lib/registration.ts";
import { disableUpgradesPlan, freezePlan, pausePlan, suspensionPlan } from "../../scripts/lib/stops.ts";
import { acceptTcbPlan, advisoryPlan, withdrawTcbPlan } from "../../scripts/lib/tcb-acceptance.ts";
import { createApp } from "../../scripts/tasks/app-create.ts";
import { replaceCompose } from "../../scripts/tasks/app-replace-compose.ts";
import { register } from "../../scripts/tasks/kms-register.ts";
import { verifierPlan } from "../../scripts/tasks/kms-set-verifier.ts";
import { hashOf, startChain, type TestChain, zero32 } from "../auth-eth/support/chain.ts";
import { simulatedPlatform } from "../support/simulated-td.ts";
import { makeBootstrapFile, simulatedVerifier } from "./support/bootstrap-file.ts";

let chain: TestChain;
let session: ChainSession;
let kmsAuth: Hex;
let appId: Hex;

beforeAll(async () => {
  chain = await startChain();
  session = chain.session;
  kmsAuth = getAddress(chain.kmsAuth.address);
  appId = getAddress(await chain.createApp({ composeHash: hashOf("c") }));
});
afterAll(() => chain.close());

const sent = { dryRun: false };
const nextYear = `${new Date().getUTCFullYear() + 1}-01-31`;

describe.each<[string, () => { on: Governable; contract: Hex; there: Plan; back: Plan | null; shown: readonly unknown[] }]>([
  ["pause", () => ({ ...kms(), there: pausePlan(true), back: pausePlan(false), shown: [false, true] })],
  [
    "suspend-app",
    () => ({ ...kms(), there: suspensionPlan(appId, true), back: suspensionPlan(appId, false), shown: [false, true] }),
  ],
  ["accept-tcb", () => ({ ...kms(), ...tcb() })],
  ["app accept-tcb", () => ({ ...anApp(), ...tcb() })],
  ["accept-advisory", () => ({ ...kms(), ...advisory() })],
  ["app accept-advisory", () => ({ ...anApp(), ...advisory() })],
  ["set-verifier", () => ({ ...kms(), there: verifierPlan(appId), back: verifierPlan("none"), shown: ["none", appId] })],
  ["app disable-upgrades", () => ({ ...anApp(), there: disableUpgradesPlan, back: null, shown: [false, true] })],
])("%s", (task, caseOf) => {
  test("is rehearsed, sent, finds nothing to do, and is undone", async () => {
    const { on, contract, there, back, shown } = caseOf();
    const run = (plan: Plan, dryRun: boolean) => changeAsOwner(session, { task, on, contract, plan }, { dryRun });
    const [before, after] = shown;
    expect((await run(there, true)).json).toMatchObject({ changed: false, change: { before, after }, transaction: null });
    const done = await run(there, false);
    expect(done.json).toMatchObject({ task, contract, changed: true, change: { before, after }, governance: null });
    expect((done.json as { events: unknown[] }).events.length).toBeGreaterThan(0);
    expect((await run(there, false)).json).toMatchObject({ changed: false, noOp: there.noOp });
    if (back === null) return;
    expect((await run(back, false)).json).toMatchObject({ changed: true, change: { before: after, after: before } });
  });
});

const kms = () => ({ on: trustDomain, contract: kmsAuth });
const anApp = () => ({ on: app, contract: appId });
const tcb = () => ({
  there: acceptTcbPlan("SWHardeningNeeded", nextYear),
  back: withdrawTcbPlan("SWHardeningNeeded"),
  shown: ["never", `${nextYear}T23:59:59Z`],
});
const advisory = () => ({
  there: advisoryPlan("INTEL-SA-00837", true),
  back: advisoryPlan("INTEL-SA-00837", false),
  shown: [false, true],
});

test.each<[string, () => Plan]>([
  ["milliseconds", () => acceptTcbPlan("OutOfDate", "1801439999000")],
  ["no date", () => acceptTcbPlan("OutOfDate", undefined)],
  ["an empty status", () => withdrawTcbPlan("")],
  ["an advisory with a space", () => advisoryPlan("INTEL-SA-00837 ", true)],
  ["a status of 65 characters", () => withdrawTcbPlan("x".repeat(65))],
  ["an app id that is none", () => suspensionPlan("0x12", true)],
  ["a verifier that is none", () => verifierPlan("nobody")],
])("refuses %s before the chain is asked", (_name, plan) => {
  expect(plan).toThrowError(expect.objectContaining({ code: "malformed.usage" }));
});

test.each([
  ["UpToDate", nextYear, "TcbStatusNotAcceptable(UpToDate)"],
  ["OutOfDate", "2020-01-31", "AcceptanceDateOutOfRange("],
])("%s until %s is refused in the contract's words", async (status, until, words) => {
  const run = changeAsOwner(session, { task: "kms accept-tcb", ...kms(), plan: acceptTcbPlan(status, until) }, sent);
  await expect(run).rejects.toMatchObject({ code: "denied.transaction", message: expect.stringContaining(words) });
});

describe("switches", () => {
  const domain = () => ({ task: "kms harden", on: { ...trustDomain, switches: kmsSwitches }, contract: kmsAuth });
  const off = Object.fromEntries(kmsSwitches.map((name) => [name, false]));

  test("are shown, turned on by name, and off", async () => {
    const show = async () => (await harden(session, domain(), { on: undefined, off: undefined, ...sent })).json;
    expect(await show()).toMatchObject({ hardening: off });
    const done = await harden(session, domain(), { on: "factoryOnly,boundedAppCalls", off: undefined, ...sent });
    const on = { ...off, factoryOnly: true, boundedAppCalls: true };
    expect(done.json).toMatchObject({ changed: true, change: { before: off, after: on } });
    expect(await show()).toMatchObject({ hardening: on });
    const same = await harden(session, domain(), { on: "factoryOnly", off: "strictApps", ...sent });
    expect(same.json).toMatchObject({ changed: false, noOp: "already so" });
    await harden(session, domain(), { on: undefined, off: "all", ...sent });
    expect(await show()).toMatchObject({ hardening: off });
  });

  test("of an app are two", async () => {
    const on = { ...app, switches: appSwitches };
    const done = await harden(session, { task: "app harden", on, contract: appId }, { on: "all", off: undefined, ...sent });
    expect(done.json).toMatchObject({ change: { after: { strictChanges: true, keepOwner: true } } });
  });

  test.each([
    ["nonsense", undefined],
    ["factoryOnly", "factoryOnly"],
  ])("refuses --on %s --off %s", async (on, switchOff) => {
    await expect(harden(session, domain(), { on, off: switchOff, ...sent })).rejects.toMatchObject({ code: "malformed.usage" });
  });
});

describe("an app", () => {
  const settings = {
    owner: undefined,
    composeHash: hashOf("c"),
    device: zero32,
    allowAnyDevice: true,
    requireTcbUpToDate: false,
    disableUpgrades: false,
    salt: hashOf("5"),
  };

  test("with a salt has the id that the rehearsal told, once", async () => {
    const rehearsal = await createApp(session, kmsAuth, { ...settings, dryRun: true });
    const { predictedAppId } = rehearsal.json as { predictedAppId: Hex };
    expect(rehearsal.json).toMatchObject({ appId: null, change: { after: { salt: hashOf("5") } } });
    expect((await createApp(session, kmsAuth, { ...settings, ...sent })).json).toMatchObject({
      appId: predictedAppId,
      predictedAppId,
    });
    await expect(createApp(session, kmsAuth, { ...settings, ...sent })).rejects.toMatchObject({
      message: `the contract refuses: AppAlreadyDeployed(${predictedAppId})`,
    });
  });

  test("exchanges one compose hash for another, once", async () => {
    const exchange = (old: Hex, next: Hex) => replaceCompose(session, appId, { old, next, ...sent });
    const change = {
      before: { [hashOf("c")]: true, [hashOf("d")]: false },
      after: { [hashOf("c")]: false, [hashOf("d")]: true },
    };
    expect((await exchange(hashOf("c"), hashOf("d"))).json).toMatchObject({ changed: true, change });
    expect((await exchange(hashOf("c"), hashOf("d"))).json).toMatchObject({ changed: false, noOp: "already replaced" });
    await expect(exchange(hashOf("e"), hashOf("f"))).rejects.toMatchObject({ code: "denied.transaction" });
  });

  test("that is frozen says so when its lists shall change", async () => {
    const done = await changeAsOwner(session, { task: "app freeze", ...anApp(), plan: freezePlan }, sent);
    expect(done).toMatchObject({ json: { changed: true }, notes: ["there is no way back"] });
    const run = changeAsOwner(session, { task: "app accept-advisory", ...anApp(), plan: advisoryPlan("INTEL-SA-1", true) }, sent);
    await expect(run).rejects.toMatchObject({ message: "the contract refuses: PolicyIsFrozen()" });
  });
});

describe("root keys that are checked", () => {
  const verifier = simulatedVerifier(simulatedPlatform());

  test("are registered with their evidence, whose parts and events are told", async () => {
    await harden(
      session,
      { task: "kms harden", on: { ...trustDomain, switches: kmsSwitches }, contract: kmsAuth },
      { on: "all", off: undefined, ...sent },
    );
    const info = parseBootstrapInfo(utf8(JSON.stringify(makeBootstrapFile())));
    const boot = await verifyBootstrap(info, verifier, "");
    await chain.kmsAuth.write.addKmsAggregatedMr([`0x${toHex(boot.mrAggregated)}`]);
    await chain.kmsAuth.write.addKmsDevice([`0x${toHex(boot.deviceId)}`]);
    await chain.kmsAuth.write.addOsImageHash([`0x${toHex(boot.osImageHash)}`]);
    const done = await register(session, kmsAuth, { info, boot, replace: false, ...sent });
    const bytes = { k256Pubkey: 33, caPubkey: 91, quote: expect.any(Number), eventlog: expect.any(Number) };
    expect(done.json).toMatchObject({ changed: true, change: { before: null, after: { bytes } } });
    const events = (done.json as { events: { event: string }[] }).events.map(({ event }) => event);
    expect(events).toContain("KmsInfoSet");
    expect(events).toContain("KmsEvidenceSet");
  });

  test("are refused where a part of the evidence does not fit", async () => {
    const info = parseBootstrapInfo(utf8(JSON.stringify(makeBootstrapFile())));
    const boot = await verifyBootstrap(info, verifier, "");
    const { platform } = info.evidence;
    if (platform.kind !== "tdx") throw new Error("the simulated platform is TDX");
    const quote = new Uint8Array(24_576);
    quote.set(platform.quote);
    const large = { ...info, evidence: { ...info.evidence, platform: { ...platform, quote } } };
    await expect(register(session, kmsAuth, { info: large, boot, replace: true, ...sent })).rejects.toMatchObject({
      code: "malformed.length",
      message: "the quote is too large to be kept on the chain: need at most 24575 bytes, have 24576",
    });
  });
});
