/** The work behind the operator commands against KmsAuth on a real chain: changes, rehearsals, refusals. */
import { createHash } from "node:crypto";
import { getAddress, type Hex } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BootInfo } from "../../kms/attestation/boot-info.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { changeList, composeHashes, kmsDevices, kmsMeasurements, osImages } from "../../scripts/lib/allow-list.ts";
import { parseBootstrapInfo } from "../../scripts/lib/bootstrap-info.ts";
import type { ChainSession } from "../../scripts/lib/chain-session.ts";
import { verifyBootstrap } from "../../scripts/lib/registration.ts";
import { createApp } from "../../scripts/tasks/app-create.ts";
import { register } from "../../scripts/tasks/kms-register.ts";
import { hashOf, startChain, type TestChain, zero32 } from "../auth-eth/support/chain.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { makeBootstrapFile, simulatedVerifier } from "./support/bootstrap-file.ts";

let chain: TestChain;
let session: ChainSession;
let stranger: ChainSession;
let contract: Hex;

beforeAll(async () => {
  chain = await startChain();
  session = chain.session;
  contract = chain.kmsAuth.address;
  const [, second] = await chain.viem.getWalletClients();
  if (second === undefined) throw new Error("the chain has one account only");
  stranger = { ...session, wallet: second, sender: getAddress(second.account.address) };
});
afterAll(() => chain.close());

const nonce = () => session.reader.getTransactionCount({ address: session.sender });
const sent = { dryRun: false };

describe("lists", () => {
  const rows = [
    ["kms add-mr", kmsMeasurements, "addKmsAggregatedMr"],
    ["kms add-device", kmsDevices, "addKmsDevice"],
    ["kms add-image", osImages, "addOsImageHash"],
  ] as const;
  test.each(rows)("%s rehearses, sends, sees that nothing is to do, and is undone", async (task, list, name) => {
    const value = hashOf("7");
    const run = (allow: boolean, dryRun: boolean) => changeList(session, { task, list, allow }, { contract, value, dryRun });
    const before = await nonce();
    const call = { function: name, args: [value], data: expect.stringMatching(/^0x[0-9a-f]{72}$/) };
    const change = { what: `${list.what} ${value} allowed`, before: false, after: true };
    const common = { task, chainId: 31_337, contract, sender: session.sender, call, change };
    const rehearsed = await run(true, true);
    expect(rehearsed.json).toMatchObject({ ...common, dryRun: true, changed: false, noOp: null, transaction: null });
    expect(rehearsed.text).toMatch(/sender +0x[\s\S]*: no → yes[\s\S]*dry run/);
    expect(await nonce()).toBe(before);
    const transaction = { hash: expect.stringMatching(/^0x/), blockNumber: expect.any(Number), gasUsed: expect.any(Number) };
    expect((await run(true, false)).json).toMatchObject({ ...common, dryRun: false, changed: true, transaction });
    expect((await run(true, false)).json).toMatchObject({ changed: false, noOp: "already allowed", transaction: null });
    expect(await nonce()).toBe(before + 1);
    expect((await run(false, false)).json).toMatchObject({ changed: true, change: { before: true, after: false } });
    expect((await run(false, false)).json).toMatchObject({ changed: false, noOp: "already not allowed" });
  });

  test("a sender who is not the owner is refused before anything is sent, also in a rehearsal", async () => {
    for (const dryRun of [true, false]) {
      const run = changeList(
        stranger,
        { task: "kms add-mr", list: kmsMeasurements, allow: true },
        { contract, value: hashOf("8"), dryRun },
      );
      await expect(run).rejects.toMatchObject({
        code: "denied.transaction",
        message: `the contract refuses: OwnableUnauthorizedAccount(${stranger.sender})`,
      });
    }
    expect(await session.reader.getTransactionCount({ address: stranger.sender })).toBe(0);
  });

  test("an address without the contract is an error of usage", async () => {
    const nowhere: Hex = `0x${"12".repeat(20)}`;
    const run = changeList(
      session,
      { task: "kms add-mr", list: kmsMeasurements, allow: true },
      { contract: nowhere, value: hashOf("8"), ...sent },
    );
    await expect(run).rejects.toMatchObject({ code: "malformed.usage" });
  });
});

describe("apps", () => {
  const settings = {
    owner: undefined,
    composeHash: zero32,
    device: zero32,
    allowAnyDevice: false,
    requireTcbUpToDate: false,
    disableUpgrades: false,
  };

  test("are created with what was asked for, and say their id", async () => {
    const device = hashOf("d");
    const result = await createApp(session, contract, {
      ...settings,
      device,
      composeHash: hashOf("c"),
      requireTcbUpToDate: true,
      ...sent,
    });
    const { appId } = result.json as { appId: Hex };
    const app = await chain.viem.getContractAt("AppAuth", appId);
    expect(await app.read.owner()).toBe(await chain.kmsAuth.read.owner());
    expect(await app.read.allowedComposeHashes([hashOf("c")])).toBe(true);
    expect([
      await app.read.allowedDeviceIds([device]),
      await app.read.allowAnyDevice(),
      await app.read.requireTcbUpToDate(),
    ]).toEqual([true, false, true]);
    expect(await chain.kmsAuth.read.registeredApps([appId])).toBe(true);
  });

  test("are not created by a rehearsal, which warns of an app that no device may run", async () => {
    const before = await nonce();
    const result = await createApp(session, contract, { ...settings, dryRun: true });
    expect(result.json).toMatchObject({ changed: false, appId: null, change: { after: { composeHash: null, device: null } } });
    expect(result.notes).toEqual(["no device may run this app: pass --device or --allow-any-device"]);
    expect(await nonce()).toBe(before);
  });

  test("may belong to another, whose list the sender then cannot change", async () => {
    const owner = stranger.sender;
    const result = await createApp(session, contract, { ...settings, owner, allowAnyDevice: true, ...sent });
    const { appId } = result.json as { appId: Hex };
    const allow = { task: "app allow-compose", list: composeHashes, allow: true };
    const input = { contract: appId, value: hashOf("c"), ...sent };
    await expect(changeList(session, allow, input)).rejects.toMatchObject({ code: "denied.transaction" });
    expect((await changeList(stranger, allow, input)).json).toMatchObject({ changed: true });
  });
});

describe("registration", () => {
  const platform = simulatedPlatform();
  const verifier = simulatedVerifier(platform);
  const infoOf = (file: object) => parseBootstrapInfo(utf8(JSON.stringify(file)));
  const verified = async (file: object) => {
    const info = infoOf(file);
    return { info, boot: await verifyBootstrap(info, verifier, "") };
  };
  async function allow(boot: BootInfo): Promise<void> {
    const { write } = chain.kmsAuth;
    await write.addKmsAggregatedMr([`0x${toHex(boot.mrAggregated)}`]);
    await write.addKmsDevice([`0x${toHex(boot.deviceId)}`]);
    await write.addOsImageHash([`0x${toHex(boot.osImageHash)}`]);
  }

  test("evidence that binds other keys is refused before it is verified", async () => {
    await expect(verified(makeBootstrapFile({ bound: false }))).rejects.toMatchObject({ code: "unproven.registration" });
    const swapped = { ...makeBootstrapFile(), k256_pubkey: makeBootstrapFile().k256_pubkey };
    await expect(verified(swapped)).rejects.toMatchObject({ code: "unproven.registration" });
  });

  test("report data that only the envelope claims is refused", async () => {
    const file = makeBootstrapFile();
    const { evidence, ...keys } = infoOf(file);
    const other = infoOf(makeBootstrapFile()).evidence.platform;
    await expect(verifyBootstrap({ ...keys, evidence: { ...evidence, platform: other } }, verifier, "")).rejects.toMatchObject({
      code: "unproven.report-data",
    });
  });

  test("genuine evidence of a machine that the policy does not allow registers nothing", async () => {
    const input = await verified(makeBootstrapFile());
    const before = await nonce();
    await expect(register(session, contract, { ...input, replace: false, ...sent })).rejects.toMatchObject({
      code: "denied.policy",
      message: "the KMS that made these keys is not allowed: OS image is not allowed",
    });
    expect(await nonce()).toBe(before);
  });

  test("keys go on the chain with their evidence, and other keys only on demand", async () => {
    const file = makeBootstrapFile();
    const input = { ...(await verified(file)), replace: false };
    await allow(input.boot);
    const rehearsed = await register(session, contract, { ...input, dryRun: true });
    expect(rehearsed.json).toMatchObject({
      changed: false,
      change: { before: null, after: { k256Pubkey: `0x${file.k256_pubkey}` } },
    });
    const result = await register(session, contract, { ...input, ...sent });
    expect(result.json).toMatchObject({
      changed: true,
      mrAggregated: toHex(input.boot.mrAggregated),
      deviceId: createHash("sha256").update(platform.ppid).digest("hex"),
      osImageHash: toHex(simulatedTd().osImageHash),
      tcbStatus: "UpToDate",
    });
    const [k256, ca] = await chain.kmsAuth.read.kmsInfo();
    expect([k256, ca]).toEqual([`0x${file.k256_pubkey}`, `0x${file.ca_pubkey}`]);
    expect((await register(session, contract, { ...input, ...sent })).json).toMatchObject({
      noOp: "already registered",
      changed: false,
    });
    const other = { ...(await verified(makeBootstrapFile())), ...sent };
    await expect(register(session, contract, { ...other, replace: false })).rejects.toMatchObject({
      code: "denied.already-bootstrapped",
    });
    expect((await register(session, contract, { ...other, replace: true })).json).toMatchObject({ changed: true });
  });

  test("a machine out of date is not allowed", async () => {
    const old = simulatedPlatform({ tcbStatus: "OutOfDate" });
    const info = infoOf(makeBootstrapFile({ td: { platform: old } }));
    const boot = await verifyBootstrap(info, simulatedVerifier(old), "");
    await expect(register(session, contract, { info, boot, replace: true, ...sent })).rejects.toMatchObject({
      message: "the KMS that made these keys is not allowed: TCB status is not up to date",
    });
  });
});
