/** A hand-over whose connection breaks at each of its transactions, and which the same command then finishes. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import hre from "hardhat";
import { createHardhatRuntimeEnvironment } from "hardhat/hre";
import { getAddress, parseEventLogs } from "viem";
import { afterAll, beforeAll, expect, test } from "vitest";
import config from "../../hardhat.config.ts";
import GovernanceModule from "../../ignition/modules/Governance.ts";
import KmsAuthModule from "../../ignition/modules/KmsAuth.ts";

const root = join(import.meta.dirname, "../..");
const TRANSACTIONS = 4;
const ZERO_ADDRESS = `0x${"00".repeat(20)}` as const;
let stateDir: string;
let brokenAt = Number.POSITIVE_INFINITY;
let sent = 0;

beforeAll(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "keyward-governance-"));
});
afterAll(() => rm(stateDir, { recursive: true, force: true }));

/** As an operator's machine: an environment of its own, a journal on disk, the chain behind HTTP. */
async function operator(url: string) {
  const paths = { ...config.paths, ignition: stateDir };
  const own = await createHardhatRuntimeEnvironment({ ...config, paths }, { config: join(root, "hardhat.config.ts") }, root);
  own.hooks.registerHandlers("network", {
    onRequest: async (context, connection, request, next) => {
      if (sent >= brokenAt) throw new Error("the connection broke");
      const response = await next(context, connection, request);
      if (request.method === "eth_sendTransaction") sent += 1;
      return response;
    },
  });
  return own.network.create({ network: "localhost", override: { url } });
}

test.each([0, 1, 2, 3])(
  "broken after %i transactions: the deployer still has everything, and a second run finishes",
  async (count) => {
    const server = await hre.network.createServer("default", "127.0.0.1", 0);
    const { address, port } = await server.listen();
    const chain = await operator(`http://${address}:${port}`);
    try {
      const client = await chain.viem.getPublicClient();
      const accounts = (await chain.viem.getWalletClients()).map(({ account }) => getAddress(account.address));
      const [deployer = ZERO_ADDRESS, curator = "", upgrader = "", guardian = "", clerk = "", admin = ""] = accounts;
      const { kmsAuth } = await chain.ignition.deploy(KmsAuthModule, { deploymentId: `domain-${count}` });
      const parameters = { Governance: { kmsAuth: kmsAuth.address, curator, upgrader, guardian, operator: clerk, admin } };
      const run = () => chain.ignition.deploy(GovernanceModule, { parameters, deploymentId: `governance-${count}` });
      const nonce = await client.getTransactionCount({ address: deployer });

      [sent, brokenAt] = [0, count];
      await expect(run()).rejects.toThrow("the connection broke");
      brokenAt = Number.POSITIVE_INFINITY;
      expect(await client.getTransactionCount({ address: deployer })).toBe(nonce + count);
      expect(await kmsAuth.read.owner()).toBe(deployer);
      const { abi } = await hre.artifacts.readArtifact("AccessManager");
      const members = parseEventLogs({ abi, eventName: "RoleGranted", logs: await client.getLogs({ fromBlock: 0n }) });
      expect(members.map(({ args }) => args.account)).toEqual(count < 2 ? [] : [deployer]);

      const { manager } = await run();
      expect(await client.getTransactionCount({ address: deployer })).toBe(nonce + TRANSACTIONS);
      expect(await kmsAuth.read.owner()).toBe(getAddress(manager.address));
      expect(await kmsAuth.read.pendingOwner()).toBe(ZERO_ADDRESS);
      expect(await manager.read.hasRole([0n, deployer])).toEqual([false, 0]);
    } finally {
      await chain.close();
      await server.close();
    }
  },
);
