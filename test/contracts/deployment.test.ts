/** The Ignition modules: what they deploy, to whom, and where the journal goes. */
import hre from "hardhat";
import { getAddress } from "viem";
import { describe, expect, test } from "vitest";
import { deploymentId } from "../../ignition/deployment-id.ts";
import KmsAuth from "../../ignition/modules/KmsAuth.ts";
import KmsAuthCompatible from "../../ignition/modules/KmsAuthCompatible.ts";

const STRANGER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const ZERO_WORD = `0x${"00".repeat(32)}` as const;

const modules = [
  ["KmsAuth", KmsAuth, 127n],
  ["KmsAuthCompatible", KmsAuthCompatible, 0n],
] as const;

describe.each(modules)("the module %s", (name, module, switches) => {
  test("deploys a trust domain that the deployer owns and whose factory works at once", async () => {
    const { ignition, viem } = await hre.network.create();
    const { kmsAuth, appImplementation, kmsImplementation } = await ignition.deploy(module);
    const [deployer] = await viem.getWalletClients();
    expect(await kmsAuth.read.owner()).toBe(getAddress(deployer?.account.address ?? "0x"));
    expect(await kmsAuth.read.appImplementation()).toBe(getAddress(appImplementation.address));
    expect(kmsAuth.address).not.toBe(kmsImplementation.address);
    expect(await kmsAuth.read.hardening()).toBe(switches);
    const client = await viem.getPublicClient();
    const hash = await kmsAuth.write.deployAndRegisterApp([STRANGER, false, true, ZERO_WORD, ZERO_WORD]);
    const receipt = await client.getTransactionReceipt({ hash });
    const appId = getAddress(`0x${receipt.logs.at(-1)?.topics[1]?.slice(26)}`);
    expect(await kmsAuth.read.registeredApps([appId])).toBe(true);
  });

  test("takes another owner as a parameter", async () => {
    const { ignition } = await hre.network.create();
    const { kmsAuth } = await ignition.deploy(module, { parameters: { [name]: { owner: STRANGER } } });
    expect(await kmsAuth.read.owner()).toBe(STRANGER);
  });

  test("refuses a zero owner", async () => {
    const { ignition } = await hre.network.create();
    const parameters = { [name]: { owner: `0x${"00".repeat(20)}` } };
    await expect(ignition.deploy(module, { parameters })).rejects.toThrow("0x1e4fbdf7"); // OwnableInvalidOwner
  });
});

test("names a journal after the chain and its genesis block", () => {
  const id = deploymentId(31337, `0x${"0123456789abcdef".repeat(4)}`);
  expect(id).toBe("chain-31337-0123456789abcdef");
  expect(deploymentId(31337, `0x${"f".repeat(64)}`)).not.toBe(id);
  for (const hash of ["", "0x", `0x${"ab".repeat(31)}`, `0x${"AB".repeat(32)}`, `../${"ab".repeat(32)}`]) {
    expect(() => deploymentId(31337, hash)).toThrow("genesis hash");
  }
});
