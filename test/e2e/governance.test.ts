/** Governance of two speeds from end to end: deployed and handed over by Ignition, driven by the commands as their holders run them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import hre from "hardhat";
import { createPublicClient, type Hex, http, parseAbi, toHex } from "viem";
import { mnemonicToAccount } from "viem/accounts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Deployment, deployContracts } from "../../scripts/start-deploy.ts";

const run = fileURLToPath(new URL("../../run", import.meta.url));
const config = fileURLToPath(new URL("./governed.config.ts", import.meta.url));
const holders = ["deployer", "curator", "upgrader", "guardian", "operator", "admin"] as const;
type Holder = (typeof holders)[number];
const day = 86_400;
/** Each command is a process: many of them in a row, on a machine that runs other tests too. */
const timeoutMs = 180_000;
const image: Hex = `0x${"a1".repeat(32)}`;
const abi = parseAbi(["function allowedOsImages(bytes32) view returns (bool)", "function owner() view returns (address)"]);

/** The accounts that every local chain has. */
function accountOf(holder: Holder) {
  return mnemonicToAccount("test test test test test test test test test test test junk", {
    addressIndex: holders.indexOf(holder),
  });
}

let server: Awaited<ReturnType<typeof hre.network.createServer>>;
let rpcUrl: string;
let folder: string;
let deployment: Deployment;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "keyward-governance-"));
  server = await hre.network.createServer(undefined, "127.0.0.1", 0);
  const { address, port } = await server.listen();
  rpcUrl = `http://${address}:${port}`;
  deployment = await deployContracts(rpcUrl, folder);
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const client = () => createPublicClient({ transport: http(rpcUrl), cacheTime: 0 });
const kmsAuth = () => ({ address: deployment.kmsAuth, abi }) as const;
const isImageAllowed = () => client().readContract({ ...kmsAuth(), functionName: "allowedOsImages", args: [image] });

async function pass(seconds: number): Promise<void> {
  for (const [method, params] of [
    ["evm_increaseTime", [seconds]],
    ["evm_mine", []],
  ] as const) {
    await fetch(rpcUrl, { method: "POST", body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }) });
  }
}

async function as(holder: Holder, ...words: string[]) {
  const key = toHex(accountOf(holder).getHdKey().privateKey ?? new Uint8Array());
  const child = spawn(run, ["hardhat", "--config", config, "--network", "localhost", ...words, "--json"], {
    env: {
      ...process.env,
      KEYWARD_LOCALHOST_RPC_URL: rpcUrl,
      KEYWARD_TEST_ACCOUNT_KEY: key,
      KEYWARD_TEST_IGNITION: join(folder, "ignition"),
      KMS_CONTRACT_ADDR: deployment.kmsAuth,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  const line = stdout.split("\n").findLast((each) => each.startsWith("{"));
  if (line === undefined) throw new Error(`no JSON from ${words.join(" ")}: ${stdout}${stderr}`);
  return { status, stderr, json: JSON.parse(line) as Record<string, unknown> };
}

async function operationId(): Promise<string> {
  const { json } = await as("curator", "governance", "list");
  const [operation] = json["operations"] as { id: string }[];
  if (operation === undefined) throw new Error("nothing is scheduled");
  return operation.id;
}

test("a trust domain is handed over, and its deployer keeps nothing", { timeout: timeoutMs }, async () => {
  const names = holders.slice(1).flatMap((holder) => [`--${holder}`, accountOf(holder).address]);
  const rehearsed = await as("deployer", "governance", "hand-over", ...names, "--dry-run");
  expect(rehearsed).toMatchObject({
    status: 0,
    json: { ok: true, dryRun: true, changed: false, terms: { curatorDelay: 2 * day } },
  });
  const done = await as("deployer", "governance", "hand-over", ...names);
  expect(done).toMatchObject({ status: 0, json: { ok: true, task: "governance hand-over", changed: true } });
  const { authority } = done.json["governance"] as { authority: Hex };
  expect(await client().readContract({ ...kmsAuth(), functionName: "owner" })).toBe(authority);
  expect(await as("deployer", "kms", "add-image", image)).toMatchObject({ status: 4, json: { ok: false, code: "denied.role" } });
});

test("an addition is scheduled, refused before its delay, and made after it", { timeout: timeoutMs }, async () => {
  const direct = await as("curator", "kms", "add-image", image);
  expect(direct).toMatchObject({ status: 4, json: { ok: false, code: "denied.delay" } });
  expect(direct.stderr).toContain(`./run hardhat governance schedule --call 'addOsImageHash(${image})' --target `);
  const call = ["--call", `addOsImageHash(${image})`];
  const shown = await as("guardian", "governance", "schedule", ...call, "--from", accountOf("curator").address);
  const { authority } = shown.json["governance"] as { authority: Hex };
  expect(shown.json).toMatchObject({
    dryRun: true,
    transaction: null,
    toSign: { to: authority, data: expect.stringMatching(/^0x/) },
  });
  const scheduled = await as("curator", "governance", "schedule", ...call);
  expect(scheduled).toMatchObject({
    status: 0,
    json: {
      ok: true,
      call: { function: "addOsImageHash", args: [image] },
      governance: { role: "curator", delaySeconds: 2 * day },
      done: "scheduled",
    },
  });
  const id = await operationId();
  expect(await as("curator", "governance", "execute", id)).toMatchObject({ status: 4, json: { code: "denied.delay" } });
  await pass(2 * day - 600);
  expect(await as("curator", "governance", "execute", id)).toMatchObject({ status: 4, json: { code: "denied.delay" } });
  expect(await isImageAllowed()).toBe(false);
  await pass(600);
  const executed = await as("curator", "governance", "execute", id);
  expect(executed).toMatchObject({ status: 0, json: { ok: true, done: "executed", transaction: { hash: expect.any(String) } } });
  expect(await isImageAllowed()).toBe(true);
});

test("a removal is the guardian's, at once", { timeout: timeoutMs }, async () => {
  expect(await as("curator", "kms", "remove-image", image)).toMatchObject({ status: 4, json: { code: "denied.role" } });
  const removed = await as("guardian", "kms", "remove-image", image);
  expect(removed).toMatchObject({
    status: 0,
    json: { ok: true, changed: true, governance: { role: "guardian", delaySeconds: 0, operation: null } },
  });
  expect(await isImageAllowed()).toBe(false);
  const paused = await as("guardian", "governance", "execute", "--call", "pause()");
  expect(paused).toMatchObject({ status: 0, json: { ok: true, done: "executed at once" } });
  expect(await as("guardian", "kms", "unpause")).toMatchObject({ status: 4, json: { code: "denied.role" } });
  expect(await as("operator", "kms", "unpause", "--schedule")).toMatchObject({
    json: {
      ok: true,
      changed: false,
      governance: { role: "operator", delaySeconds: day, operation: { id: expect.any(String) } },
    },
  });
  await pass(day);
  expect(await as("operator", "governance", "execute", "--call", "unpause()")).toMatchObject({
    json: { ok: true, done: "executed" },
  });
});

test("an upgrade that the guardian cancels never happens", { timeout: timeoutMs }, async () => {
  const call = `upgradeToAndCall(${deployment.appImplementation}, 0x)`;
  const scheduled = await as("upgrader", "governance", "schedule", "--call", call);
  expect(scheduled).toMatchObject({ json: { ok: true, governance: { role: "upgrader", delaySeconds: 7 * day } } });
  const listed = await as("guardian", "governance", "list");
  expect(listed.json["operations"]).toMatchObject([{ state: "waiting", call: { function: "upgradeToAndCall" } }]);
  const cancelled = await as("guardian", "governance", "cancel", await operationId());
  expect(cancelled).toMatchObject({ status: 0, json: { ok: true, done: "cancelled" } });
  await pass(7 * day);
  expect(await as("upgrader", "governance", "execute", "--call", call)).toMatchObject({
    status: 4,
    json: { ok: false, code: "denied.not-scheduled" },
  });
  expect((await as("guardian", "governance", "list")).json["operations"]).toEqual([]);
});
