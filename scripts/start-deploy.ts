/** Compiles the contracts and deploys them by Ignition to the local chain; the journal goes to the state folder, never into the work tree. */
import { join } from "node:path";
import { createHardhatRuntimeEnvironment } from "hardhat/hre";
import config from "../hardhat.config.ts";
import { deploymentId } from "../ignition/deployment-id.ts";
import KmsAuthModule from "../ignition/modules/KmsAuth.ts";

export interface Deployment {
  readonly chainId: number;
  readonly kmsAuth: `0x${string}`;
  readonly appImplementation: `0x${string}`;
}

const projectRoot = join(import.meta.dirname, "..");

export async function deployContracts(rpcUrl: string, stateDir: string): Promise<Deployment> {
  const hre = await createHardhatRuntimeEnvironment(
    { ...config, paths: { ...config.paths, ignition: join(stateDir, "ignition") } },
    { config: join(projectRoot, "hardhat.config.ts") },
    projectRoot,
  );
  await hre.tasks.getTask("build").run({ quiet: true, noTests: true });
  const connection = await hre.network.create({ network: "localhost", override: { url: rpcUrl } });
  try {
    const publicClient = await connection.viem.getPublicClient();
    const chainId = await publicClient.getChainId();
    const genesis = await publicClient.getBlock({ blockNumber: 0n });
    const { kmsAuth, appImplementation } = await connection.ignition.deploy(KmsAuthModule, {
      deploymentId: deploymentId(chainId, genesis.hash),
    });
    return { chainId, kmsAuth: kmsAuth.address, appImplementation: appImplementation.address };
  } finally {
    await connection.close();
  }
}
