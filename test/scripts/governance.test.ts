/** The governance commands against an access manager on a real chain: hand-over, and every operation's life. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getAddress, type Hex } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { changeList, osImages } from "../../scripts/lib/allow-list.ts";
import type { ChainSession } from "../../scripts/lib/chain-session.ts";
import { encodeCall } from "../../scripts/lib/solidity-call.ts";
import { cancel } from "../../scripts/tasks/governance-cancel.ts";
import { execute } from "../../scripts/tasks/governance-execute.ts";
import { handOver } from "../../scripts/tasks/governance-hand-over.ts";
import { list } from "../../scripts/tasks/governance-list.ts";
import { schedule } from "../../scripts/tasks/governance-schedule.ts";
import { hashOf, startChain, type TestChain } from "../auth-eth/support/chain.ts";
import {
  type Account,
  day,
  governedBy,
  moduleRunner,
  pass,
  sessionsOf,
  termsContract,
  termsFor,
} from "./support/governed-chain.ts";

let chain: TestChain;
let sessions: Record<Account, ChainSession>;
let kmsAuth: Hex;
let authority: Hex;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "keyward-governance-"));
  chain = await startChain();
  sessions = await sessionsOf(chain);
  kmsAuth = getAddress(chain.kmsAuth.address);
  await chain.kmsAuth.write.addOsImageHash([hashOf("1")]);
  await chain.kmsAuth.write.addOsImageHash([hashOf("2")]);
});
afterAll(async () => {
  await chain.close();
  await rm(folder, { recursive: true });
});

const as = (account: Account, target = kmsAuth) => governedBy(sessions[account], target, authority);
const sent = { dryRun: false };
const rehearsed = { dryRun: true };
const add = (digit: string) => encodeCall(`addOsImageHash(${hashOf(digit)})`);
const scheduled = (account: Account, data: Hex, options = sent) => schedule(as(account), { data, delay: undefined, ...options });
const operations = async () => ((await list(as("stranger"))).json as { operations: unknown[] }).operations;

describe("the hand-over", () => {
  const run = async (changes: object, account: Account = "deployer", dryRun = true) => {
    const terms = { ...termsFor(kmsAuth, sessions), ...changes };
    return handOver(sessions[account], terms, await termsContract(), { runModule: await moduleRunner(chain, folder), dryRun });
  };

  test.each<[string, () => object, Account, string]>([
    ["by somebody else", () => ({}), "stranger", "DeployerIsNotOwner"],
    ["to the deployer as admin", () => ({ admin: sessions.deployer.sender }), "deployer", "AdminIsDeployer"],
    ["to a guardian who is curator", () => ({ guardian: sessions.curator.sender }), "deployer", "GuardianHoldsAnotherRole"],
    ["with an upgrader faster than a day", () => ({ upgraderDelay: 3600 }), "deployer", "DelayOutOfRange"],
  ])("is refused %s before anything is sent", async (_name, changes, account, error) => {
    const before = await chain.session.reader.getTransactionCount({ address: sessions[account].sender });
    await expect(run(changes(), account, false)).rejects.toMatchObject({
      code: "denied.transaction",
      message: expect.stringContaining(`the terms are refused: ${error}(`),
    });
    expect(await chain.session.reader.getTransactionCount({ address: sessions[account].sender })).toBe(before);
  });

  test("is rehearsed, done once, and refused afterwards", async () => {
    expect((await run({})).json).toMatchObject({ changed: false, governance: null, terms: { curatorDelay: 2 * day } });
    expect(await chain.kmsAuth.read.owner()).toBe(sessions.deployer.sender);
    const done = await run({}, "deployer", false);
    authority = (done.json as { governance: { authority: Hex } }).governance.authority;
    expect(await chain.kmsAuth.read.owner()).toBe(authority);
    await expect(run({}, "deployer", false)).rejects.toMatchObject({ code: "denied.role" });
  });
});

describe("an addition", () => {
  test("is rehearsed with its role, delay and time, and only then scheduled", async () => {
    const rehearsal = await scheduled("curator", add("a"), rehearsed);
    expect(rehearsal.json).toMatchObject({
      task: "governance schedule",
      dryRun: true,
      call: { function: "addOsImageHash", args: [hashOf("a")] },
      governance: { authority, role: "curator", delaySeconds: 2 * day, operation: { executableAt: expect.any(Number) } },
      transaction: null,
    });
    expect(rehearsal.text).toMatch(/as curator[\s\S]*executable from 20\d\d-.*Z to 20\d\d-.*Z[\s\S]*delay +2 d[\s\S]*dry run/);
    expect(await operations()).toEqual([]);
    const done = await scheduled("curator", add("a"));
    expect(done.json).toMatchObject({ done: "scheduled", events: [{ event: "OperationScheduled" }] });
    expect(await operations()).toMatchObject([
      {
        state: "waiting",
        role: "curator",
        caller: sessions.curator.sender,
        call: { function: "addOsImageHash", args: [hashOf("a")] },
      },
    ]);
  });

  test("is refused while it waits, with the time that is left", async () => {
    await expect(execute(as("curator"), { data: add("a") }, sent)).rejects.toMatchObject({
      code: "denied.delay",
      message: expect.stringMatching(/is not ready: executable in 1 d 23 h|2 d/),
    });
    await expect(scheduled("curator", add("a"))).rejects.toMatchObject({ code: "denied.already-scheduled" });
  });

  test("takes effect after its delay, by whoever scheduled it", async () => {
    await pass(chain, 2 * day);
    const [{ id }] = (await operations()) as [{ id: Hex }];
    expect((await list(as("stranger"))).text).toMatch(/ready, expires in (7 d|6 d 23 h)/);
    await expect(execute(as("upgrader"), { id }, sent)).rejects.toMatchObject({ code: "denied.role" });
    expect((await execute(as("curator"), { id }, rehearsed)).json).toMatchObject({ transaction: null });
    const done = await execute(as("curator"), { id }, sent);
    const events = (done.json as { events: { event: string }[] }).events.map(({ event }) => event);
    expect(events).toEqual(["OperationExecuted", "OsImageHashAdded", "PolicyChanged"]);
    expect(await chain.kmsAuth.read.allowedOsImages([hashOf("a")])).toBe(true);
    expect(await operations()).toEqual([]);
    await expect(execute(as("curator"), { id }, sent)).rejects.toMatchObject({ code: "denied.not-scheduled" });
    await expect(execute(as("curator"), { data: add("a") }, sent)).rejects.toMatchObject({ code: "denied.not-scheduled" });
  });

  test("may wait longer than it must, and never less", async () => {
    const short = schedule(as("curator"), { data: add("b"), delay: day, ...sent });
    await expect(short).rejects.toMatchObject({ code: "malformed.usage", message: "--delay: need at least 2 d, have 1 d" });
    await schedule(as("curator"), { data: add("b"), delay: 3 * day, ...sent });
    await pass(chain, 2 * day + 60);
    await expect(execute(as("curator"), { data: add("b") }, sent)).rejects.toMatchObject({ code: "denied.delay" });
  });

  test("expires a week after its time, is named so, and can be scheduled again", async () => {
    await pass(chain, 9 * day);
    const [{ id }] = (await operations()) as [{ id: Hex }];
    expect((await list(as("stranger"))).text).toContain("expired: schedule it again");
    await expect(execute(as("curator"), { id }, sent)).rejects.toMatchObject({ code: "denied.expired" });
    await expect(execute(as("curator"), { data: add("b") }, sent)).rejects.toMatchObject({ code: "denied.expired" });
    expect((await scheduled("curator", add("b"))).json).toMatchObject({ done: "scheduled" });
    await cancel(as("curator"), { data: add("b") }, sent);
  });
});

describe("a role", () => {
  test.each<[Account, () => Hex, string]>([
    ["stranger", () => add("c"), "the call needs the role curator"],
    ["guardian", () => add("c"), "the call needs the role curator"],
    ["curator", () => encodeCall(`removeOsImageHash(${hashOf("1")})`), "the call needs the role guardian"],
    ["curator", () => encodeCall("unpause()"), "the call needs the role operator"],
    ["admin", () => encodeCall(`transferOwnership(${sessions.admin.sender})`), "the call needs the role upgrader"],
  ])("%s may not schedule what is another's", async (account, data, message) => {
    await expect(scheduled(account, data())).rejects.toMatchObject({
      code: "denied.role",
      message: expect.stringContaining(message),
    });
  });

  test("is granted by the admin, slowly, and the guardian may stop it", async () => {
    const data = encodeCall(`grantRole(curator, ${sessions.stranger.sender}, 172800)`);
    const governed = { ...as("admin"), target: authority };
    const done = await schedule(governed, { data, delay: undefined, ...sent });
    expect(done.json).toMatchObject({ contract: authority, governance: { role: "admin", delaySeconds: 7 * day } });
    await cancel({ ...as("guardian"), target: authority }, { data }, sent);
    expect(await operations()).toEqual([]);
  });
});

describe("what has no delay", () => {
  const remove = encodeCall(`removeOsImageHash(${hashOf("1")})`);

  test("is not scheduled but made at once", async () => {
    await expect(scheduled("guardian", remove)).rejects.toMatchObject({
      code: "malformed.usage",
      message: "the call has no delay for its guardian",
    });
    const done = await execute(as("guardian"), { data: remove }, sent);
    expect(done).toMatchObject({ json: { done: "executed at once" }, notes: ["the call has no delay for its guardian"] });
    expect(await chain.kmsAuth.read.allowedOsImages([hashOf("1")])).toBe(false);
  });

  test("is made by the old commands too, through the access manager", async () => {
    const off = { task: "kms remove-image", list: osImages, allow: false };
    const done = await changeList(sessions.guardian, off, { contract: kmsAuth, value: hashOf("2"), ...sent });
    expect(done.json).toMatchObject({ changed: true, governance: { authority, role: "guardian", operation: null } });
    expect(await chain.kmsAuth.read.allowedOsImages([hashOf("2")])).toBe(false);
  });
});

describe("the old commands", () => {
  const on = { task: "kms add-image", list: osImages, allow: true };

  test("refuse an addition, and schedule it when they are told to", async () => {
    const input = { contract: kmsAuth, value: hashOf("e") };
    await expect(changeList(sessions.curator, on, { ...input, ...sent })).rejects.toMatchObject({
      code: "denied.delay",
      message: "addOsImageHash waits 2 d as curator's",
    });
    const done = await changeList(sessions.curator, on, { ...input, ...sent, schedule: true });
    expect(done.json).toMatchObject({ changed: false, governance: { operation: { id: expect.any(String) } } });
    expect(await operations()).toMatchObject([{ call: { function: "addOsImageHash", args: [hashOf("e")] } }]);
    await cancel(as("guardian"), { data: add("e") }, sent);
  });

  test("refuse to schedule where nothing waits", async () => {
    const off = { task: "kms remove-image", list: osImages, allow: false };
    const input = { contract: kmsAuth, value: hashOf("a"), schedule: true };
    await expect(changeList(sessions.guardian, off, { ...input, ...sent })).rejects.toMatchObject({ code: "malformed.usage" });
  });
});

test("an operation that was cancelled never takes effect, and strangers cannot cancel", async () => {
  const data = encodeCall(`setAppImplementation(${chain.appImplementation})`);
  await scheduled("curator", data);
  await expect(cancel(as("stranger"), { data }, sent)).rejects.toMatchObject({ code: "denied.role" });
  expect((await cancel(as("guardian"), { data }, sent)).json).toMatchObject({ done: "cancelled" });
  await pass(chain, 2 * day);
  await expect(execute(as("curator"), { data }, sent)).rejects.toMatchObject({ code: "denied.not-scheduled" });
});

test("a call that the contract would refuse is scheduled with a warning", async () => {
  const done = await scheduled("curator", encodeCall("acceptTcbStatus(UpToDate, 2031-01-01)"), rehearsed);
  expect(done.notes).toEqual(["made now, the contract would refuse the call: TcbStatusNotAcceptable(UpToDate)"]);
});

test("a manager that its admin has closed refuses calls by name, and still lists and cancels", async () => {
  await scheduled("curator", add("9"));
  const close = encodeCall(`setTargetClosed(${kmsAuth}, true)`);
  const admins = governedBy(sessions.admin, authority, authority);
  await schedule(admins, { data: close, delay: undefined, ...sent });
  await pass(chain, 7 * day);
  await execute(admins, { data: close }, sent);
  await expect(scheduled("curator", add("8"))).rejects.toMatchObject({
    code: "denied.role",
    message: `the access manager is closed to calls of ${kmsAuth}`,
  });
  expect(await operations()).toMatchObject([{ role: "curator", state: "ready" }]);
  expect((await cancel(as("guardian"), { data: add("9") }, sent)).json).toMatchObject({ done: "cancelled" });
  const open = encodeCall(`setTargetClosed(${kmsAuth}, false)`);
  await schedule(admins, { data: open, delay: undefined, ...sent });
  await pass(chain, 7 * day);
  await execute(admins, { data: open }, sent);
});

describe("the logs", () => {
  /** An endpoint that answers for few blocks at once. */
  function stingy(session: ChainSession, mostBlocks: bigint, seen: bigint[]): ChainSession {
    const getLogs: ChainSession["reader"]["getLogs"] = (parameters = {}) => {
      const { fromBlock, toBlock } = parameters;
      if (typeof fromBlock !== "bigint" || typeof toBlock !== "bigint") throw new Error("the range has no end");
      if (toBlock - fromBlock + 1n > mostBlocks) throw new Error("query returned more than the limit");
      seen.push(toBlock - fromBlock + 1n);
      return session.reader.getLogs(parameters);
    };
    return { ...session, reader: { ...session.reader, getLogs } };
  }

  test("are read in smaller steps where the endpoint asks for it, each block once", async () => {
    await scheduled("curator", add("7"));
    await chain.rpc("hardhat_mine", ["0x200"]);
    const seen: bigint[] = [];
    const listed = await list(governedBy(stingy(sessions.stranger, 100n, seen), kmsAuth, authority));
    const {
      operations: found,
      fromBlock,
      toBlock,
    } = listed.json as { operations: unknown[]; fromBlock: number; toBlock: number };
    expect(found).toHaveLength(1);
    expect(seen.reduce((sum, blocks) => sum + blocks, 0n)).toBe(BigInt(toBlock - fromBlock + 1));
    await expect(list(governedBy(stingy(sessions.stranger, 1n, []), kmsAuth, authority))).rejects.toMatchObject({
      code: "unavailable.chain",
    });
  });

  test("begin where they are told to", async () => {
    const { toBlock } = (await list(as("stranger"))).json as { toBlock: number };
    expect((await list(as("stranger"), String(toBlock))).json).toMatchObject({ operations: [], fromBlock: toBlock });
    for (const block of ["first", "-1", String(toBlock + 1)]) {
      await expect(list(as("stranger"), block)).rejects.toMatchObject({ code: "malformed.usage" });
    }
    await cancel(as("curator"), { data: add("7") }, sent);
  });
});
