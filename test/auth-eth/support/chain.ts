/** A real chain of the tests' own, over JSON-RPC, with KmsAuth and the app contracts that the request matrix needs. */
import hre from "hardhat";
import { encodeFunctionData, type Hex } from "viem";

export const zero32: Hex = `0x${"00".repeat(32)}`;
export const hashOf = (digit: string): Hex => `0x${digit.repeat(64)}`;

/** Of a KMS that `allowKms` puts on every list. */
export const kmsRequest = {
  mrAggregated: hashOf("1"),
  osImageHash: hashOf("2"),
  deviceId: hashOf("3"),
  appId: "11".repeat(20),
  composeHash: "",
  instanceId: "",
  tcbStatus: "UpToDate",
};

/** Runtime code of app contracts that break the rules, at addresses of our choice. */
export const oddApps = {
  reverts: { address: `0x${"a1".repeat(20)}`, code: "0x60006000fd" },
  loops: { address: `0x${"a2".repeat(20)}`, code: "0x5b6201000060002050600056" },
  answersTooLittle: { address: `0x${"a3".repeat(20)}`, code: "0x60206000f3" },
  allowsAll: { address: `0x${"a4".repeat(20)}`, code: "0x6001600052604060205260606000f3" },
  longReason: { address: `0x${"a5".repeat(20)}`, code: "0x60406020526200ff006040526200ff606000f3" },
  withoutCode: { address: `0x${"ab".repeat(20)}`, code: "0x" },
} as const satisfies Record<string, { address: Hex; code: string }>;

/** Ours, or the contracts that were deployed before them: the same questions and answers without our gates and events. */
export const generations = ["ours", "earlier"] as const;
export type Generation = (typeof generations)[number];

export async function startChain(generation: Generation = "ours") {
  const server = await hre.network.createServer(undefined, "127.0.0.1", 0);
  const { address, port } = await server.listen();
  const rpcUrl = `http://${address}:${port}`;
  const connection = await hre.network.create({ network: "localhost", override: { url: rpcUrl } });
  const { viem } = connection;
  const [wallet] = await viem.getWalletClients();
  if (wallet === undefined) throw new Error("the chain has no account");
  const appImplementation = await viem.deployContract("AppAuth");
  const owner = wallet.account.address;

  async function deployKmsAuth(): Promise<Hex> {
    if (generation === "earlier") return (await viem.deployContract("DeployedKmsPolicy", [appImplementation.address])).address;
    const { abi, address } = await viem.deployContract("KmsAuth");
    const initialize = encodeFunctionData({ abi, functionName: "initialize", args: [owner, appImplementation.address] });
    return (await viem.deployContract("ERC1967Proxy", [address, initialize])).address;
  }
  const kmsAuth = await viem.getContractAt("KmsAuth", await deployKmsAuth());
  const rpc = (method: string, params: unknown[]) => connection.provider.request({ method, params });

  async function createApp(options: { composeHash: Hex; requireTcb?: boolean; anyDevice?: boolean; device?: Hex }): Promise<Hex> {
    const { composeHash, requireTcb = false, anyDevice = true, device = zero32 } = options;
    if (generation === "earlier") {
      const app = await viem.deployContract("DeployedAppPolicy", [requireTcb, anyDevice, device, composeHash]);
      await kmsAuth.write.registerApp([app.address]);
      return app.address;
    }
    const args = [owner, false, requireTcb, anyDevice, device, composeHash] as const;
    const appId = (await kmsAuth.simulate.deployAndRegisterApp(args)).result;
    await kmsAuth.write.deployAndRegisterApp(args);
    return appId;
  }
  async function allowKms(): Promise<void> {
    await kmsAuth.write.addKmsAggregatedMr([kmsRequest.mrAggregated]);
    await kmsAuth.write.addOsImageHash([kmsRequest.osImageHash]);
    await kmsAuth.write.addKmsDevice([kmsRequest.deviceId]);
  }
  async function placeOddApps(): Promise<void> {
    for (const { address: appId, code } of Object.values(oddApps)) {
      await rpc("hardhat_setCode", [appId, code]);
      await kmsAuth.write.registerApp([appId]);
    }
  }
  return {
    rpcUrl,
    chainId: 31_337,
    viem,
    owner,
    kmsAuth,
    appImplementation: appImplementation.address,
    rpc,
    session: {
      reader: await viem.getPublicClient(),
      wallet,
      sender: owner,
      network: "localhost",
      chainId: 31_337,
    },
    createApp,
    allowKms,
    placeOddApps,
    async close() {
      await connection.close();
      await server.close();
    },
  };
}

export type TestChain = Awaited<ReturnType<typeof startChain>>;
