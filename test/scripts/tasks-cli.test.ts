/** The operator commands as an operator runs them: ./run hardhat …, one process a command. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { createPccs } from "../../scripts/devnet/pccs.ts";
import { parseBootstrapInfo } from "../../scripts/lib/bootstrap-info.ts";
import { ERC1967_IMPLEMENTATION } from "../../scripts/lib/proxy-kinds.ts";
import { verifyBootstrap } from "../../scripts/lib/registration.ts";
import { hashOf, startChain, type TestChain } from "../auth-eth/support/chain.ts";
import { simulatedPlatform } from "../support/simulated-td.ts";
import { makeBootstrapFile, simulatedVerifier } from "./support/bootstrap-file.ts";

const run = fileURLToPath(new URL("../../run", import.meta.url));
const platform = simulatedPlatform();
const servers: Server[] = [];
let chain: TestChain;
let folder: string;

beforeAll(async () => {
  chain = await startChain();
  folder = await mkdtemp(join(tmpdir(), "keyward-tasks-"));
});
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await rm(folder, { recursive: true });
  await chain.close();
});

async function hardhat(args: string[], env: Record<string, string> = {}) {
  const child = spawn(run, ["hardhat", "--network", "localhost", ...args], {
    env: { ...process.env, KEYWARD_LOCALHOST_RPC_URL: chain.rpcUrl, KMS_CONTRACT_ADDR: chain.kmsAuth.address, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { status, stdout, stderr, json: () => JSON.parse(stdout) as Record<string, unknown> };
}

async function serve(server: Server): Promise<string> {
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("takes a value from a KMS, says that it is a claim, and sends nothing with --dry-run", async () => {
  const claims = { device_id: "d1".repeat(32), mr_aggregated: "e1".repeat(32), os_image_hash: "", tee_variant: "dstack-tdx" };
  const requests: (string | undefined)[] = [];
  const listener: RequestListener = (request, response) => {
    requests.push(`${request.method} ${request.url}`);
    response.end(JSON.stringify(claims));
  };
  const url = await serve(createServer(listener));
  const rehearsed = await hardhat(["kms", "add-mr", "--from-kms", `${url}/`, "--dry-run"]);
  expect(rehearsed).toMatchObject({ status: 0, stderr: expect.stringContaining("compare it with your own build") });
  expect(rehearsed.stdout).toContain(`addKmsAggregatedMr(0x${claims.mr_aggregated})`);
  expect(await chain.kmsAuth.read.kmsAllowedAggregatedMrs([`0x${claims.mr_aggregated}`])).toBe(false);
  const sent = await hardhat(["kms", "add-device", "--from-kms", url, "--json"]);
  expect(sent.json()).toMatchObject({ ok: true, task: "kms add-device", changed: true });
  expect(await chain.kmsAuth.read.kmsAllowedDeviceIds([`0x${claims.device_id}`])).toBe(true);
  const missing = await hardhat(["kms", "add-image", "--from-kms", url, "--json"]);
  expect([missing.status, missing.json()]).toEqual([
    5,
    { ok: false, code: "unavailable.kms", message: "the KMS names no 32-byte os_image_hash" },
  ]);
  expect(new Set(requests)).toEqual(new Set(["POST /prpc/Onboard.GetAttestationInfo?json"]));
});

test("creates an app, allows and revokes a compose hash", async () => {
  const created = (await hardhat(["app", "create", "--allow-any-device", "--json"])).json();
  expect(created).toMatchObject({ ok: true, appId: expect.stringMatching(/^0x[0-9a-fA-F]{40}$/) });
  const app = ["--app", String(created["appId"]), "--json"];
  expect((await hardhat(["app", "allow-compose", hashOf("c"), ...app])).json()).toMatchObject({ changed: true });
  expect((await hardhat(["app", "revoke-compose", hashOf("c"), ...app])).json()).toMatchObject({ changed: true });
  expect((await hardhat(["app", "revoke-compose", hashOf("c"), ...app])).json()).toMatchObject({ noOp: "already not allowed" });
});

test("knows the words of the commands that are an owner's", { timeout: 180_000 }, async () => {
  const created = (await hardhat(["app", "create", "--salt", hashOf("5"), "--compose-hash", hashOf("c"), "--json"])).json();
  const { appId } = created as { appId: string };
  expect(created).toMatchObject({ ok: true, predictedAppId: appId });
  const rows: [string[], object][] = [
    [["app", "replace-compose", hashOf("c"), hashOf("d"), "--app", appId], { changed: true }],
    [["app", "harden", "--on", "keepOwner", "--app", appId], { changed: true }],
    [["app", "freeze", "--app", appId, "--dry-run"], { changed: false, change: { after: true } }],
    [["kms", "suspend-app", appId], { changed: true, events: [{ event: "AppSuspended" }, { event: "PolicyChanged" }] }],
    [["kms", "accept-tcb", "OutOfDate", "--until", "2027-01-31"], { change: { after: "2027-01-31T23:59:59Z" } }],
    [["kms", "withdraw-advisory", "INTEL-SA-00837"], { noOp: "not accepted" }],
    [["kms", "set-verifier", "none"], { noOp: "already so" }],
    [["kms", "harden"], { hardening: { factoryOnly: false } }],
  ];
  for (const [words, json] of rows) {
    expect((await hardhat([...words, "--json"])).json()).toMatchObject({ ok: true, task: words.slice(0, 2).join(" "), ...json });
  }
});

test("upgrades an app to code that it deploys, shows an upgrade of KmsAuth, and refuses what is no proxy", async () => {
  const app = await chain.createApp({ composeHash: hashOf("c") });
  const upgraded = await hardhat(["app", "upgrade", "--app", app, "--known-entry", hashOf("c"), "--json"]);
  const { change } = upgraded.json() as { change: { after: string } };
  expect(upgraded.json()).toMatchObject({ ok: true, task: "app upgrade", changed: true, change: { before: expect.any(String) } });
  const implementation = await chain.rpc("eth_getStorageAt", [app, ERC1967_IMPLEMENTATION, "latest"]);
  expect(implementation).toBe(`0x${change.after.slice(2).toLowerCase().padStart(64, "0")}`);
  const rehearsed = await hardhat(["kms", "upgrade", "--dry-run"]);
  expect(rehearsed).toMatchObject({
    status: 0,
    stderr: expect.stringContaining("--known-entry"),
    stdout: expect.stringContaining("not sent"),
  });
  const refused = await hardhat(["kms", "upgrade", "--kms-auth", chain.appImplementation, "--json"]);
  expect([refused.status, refused.json()]).toMatchObject([4, { ok: false, code: "denied.upgrade-layout" }]);
});

test("registers the keys of a bootstrapped KMS, and refuses a file whose evidence does not bind them", async () => {
  const pccs = await serve(createPccs(platform, () => new Date()));
  const root = join(folder, "root.der");
  await writeFile(root, platform.rootDer);
  const register = async (file: object, ...args: string[]) => {
    const path = join(folder, "bootstrap-info.json");
    await writeFile(path, JSON.stringify(file));
    return hardhat(["kms", "register", "--bootstrap-info", path, "--root", root, "--pccs", pccs, "--json", ...args]);
  };
  const unbound = await register(makeBootstrapFile({ bound: false }));
  expect([unbound.status, unbound.json()]).toMatchObject([3, { ok: false, code: "unproven.registration" }]);
  const denied = await register(makeBootstrapFile());
  expect([denied.status, denied.json()]).toMatchObject([4, { ok: false, code: "denied.policy" }]);
  expect(await chain.kmsAuth.read.kmsInfo()).toEqual(["0x", "0x", "0x", "0x"]);
  // allowed by the values that evidence of this machine has
  const boot = await verifyBootstrap(
    parseBootstrapInfo(utf8(JSON.stringify(makeBootstrapFile()))),
    simulatedVerifier(platform),
    "",
  );
  await chain.kmsAuth.write.addKmsAggregatedMr([`0x${toHex(boot.mrAggregated)}`]);
  await chain.kmsAuth.write.addKmsDevice([`0x${toHex(boot.deviceId)}`]);
  await chain.kmsAuth.write.addOsImageHash([`0x${toHex(boot.osImageHash)}`]);
  const file = makeBootstrapFile();
  const done = await register(file);
  expect(done.json()).toMatchObject({ ok: true, task: "kms register", changed: true, tcbStatus: "UpToDate" });
  expect((await chain.kmsAuth.read.kmsInfo())[0]).toBe(`0x${file.k256_pubkey}`);
  const foreign = await hardhat([
    "kms",
    "register",
    "--bootstrap-info",
    join(folder, "bootstrap-info.json"),
    "--pccs",
    pccs,
    "--json",
  ]);
  expect([foreign.status, foreign.json()]).toMatchObject([3, { ok: false, code: "unproven.certificate-chain" }]);
});

test.each<[string, string[], number, string]>([
  ["no value", ["kms", "add-mr"], 2, "malformed.usage"],
  ["a value and a KMS", ["kms", "add-mr", hashOf("1"), "--from-kms", "http://127.0.0.1:1"], 2, "malformed.usage"],
  ["a short value", ["kms", "add-mr", "1234"], 2, "malformed.usage"],
  ["no app", ["app", "allow-compose", hashOf("1")], 2, "malformed.usage"],
  ["a KMS that is down", ["kms", "add-mr", "--from-kms", "http://127.0.0.1:1"], 5, "unavailable.kms"],
  ["a file that is not there", ["kms", "register", "--bootstrap-info", "/nowhere"], 2, "malformed.file"],
  ["a day that is none", ["kms", "accept-tcb", "OutOfDate", "--until", "2027-02-31"], 2, "malformed.usage"],
  ["an unknown switch", ["kms", "harden", "--on", "nonsense"], 2, "malformed.usage"],
  ["an unknown function", ["governance", "schedule", "--call", "blessAll()"], 2, "malformed.usage"],
  ["no curator", ["governance", "hand-over"], 2, "malformed.usage"],
  ["a delay below the minimum", ["governance", "hand-over", "--curator-delay", "1h"], 2, "malformed.usage"],
  ["a delay without a unit", ["governance", "hand-over", "--upgrader-delay", "7"], 2, "malformed.usage"],
  ["an owner who decides alone", ["governance", "list"], 4, "denied.role"],
])("exits by family with %s", async (_name, args, status, code) => {
  const result = await hardhat([...args, "--json"]);
  expect([result.status, result.json()]).toMatchObject([status, { ok: false, code }]);
  expect(result.stderr).toMatch(/^error: .*\nhint: .*\n$/);
});

test("exits 5 when the chain is down", async () => {
  const result = await hardhat(["kms", "add-mr", hashOf("1"), "--json"], { KEYWARD_LOCALHOST_RPC_URL: "http://127.0.0.1:1" });
  expect([result.status, result.json()]).toMatchObject([5, { ok: false, code: "unavailable.chain" }]);
});
