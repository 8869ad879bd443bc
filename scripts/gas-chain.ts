/** An in-process chain that tells what each transaction on our contracts costs, under the name of the operation. */
import hre from "hardhat";
import { type Abi, type Address, encodeFunctionData, type Hash, type Hex, size } from "viem";

export interface Cost {
  readonly gas: number;
  /** Bytes of calldata, or of init code for a deployment. */
  readonly calldata: number;
}

export type Costs = Map<string, Cost>;
/** The one gives the compatible mode that the deployed contracts are compared with, the other strict mode. */
export type Initializer = "initialize" | "initializeStrict";
export type ContractName = "KmsAuth" | "AppAuth" | "ERC1967Proxy";

export interface ProxyContract {
  readonly name: "KmsAuth" | "AppAuth";
  readonly address: Address;
}

export interface GasChain {
  readonly costs: Costs;
  readonly owner: Address;
  readonly stranger: Address;
  /** Without an operation the cost is nobody's. */
  deploy(name: ContractName, args: readonly unknown[], operation?: string): Promise<Address>;
  /** A proxy that initializes itself in its constructor. */
  proxy(
    name: ProxyContract["name"],
    implementation: Address,
    args: readonly unknown[],
    operation?: string,
    initializer?: Initializer,
  ): Promise<ProxyContract>;
  send(to: ProxyContract, call: string, args: readonly unknown[], operation?: string, from?: Address): Promise<void>;
  view(to: ProxyContract, call: string, args: readonly unknown[], operation: string): Promise<void>;
}

export async function createGasChain(): Promise<GasChain> {
  const chain = await hre.network.create();
  const client = await chain.viem.getPublicClient();
  const wallets = await chain.viem.getWalletClients();
  const costs: Costs = new Map();
  const artifacts: Readonly<Record<ContractName, { abi: Abi; bytecode: Hex }>> = {
    KmsAuth: await hre.artifacts.readArtifact("KmsAuth"),
    AppAuth: await hre.artifacts.readArtifact("AppAuth"),
    ERC1967Proxy: await hre.artifacts.readArtifact("ERC1967Proxy"),
  };
  const owner = known(wallets[0]?.account.address, "first account");
  const stranger = known(wallets[1]?.account.address, "second account");
  const walletOf = (address: Address) =>
    known(
      wallets.find((wallet) => wallet.account.address === address),
      `account ${address}`,
    );

  async function paid(hash: Hash, operation?: string): Promise<Address | null | undefined> {
    const receipt = await client.waitForTransactionReceipt({ hash });
    const { input } = await client.getTransaction({ hash });
    if (receipt.status !== "success") throw new Error(`${operation ?? "a preparation"} was reverted`);
    if (operation !== undefined) costs.set(operation, { gas: Number(receipt.gasUsed), calldata: size(input) });
    return receipt.contractAddress;
  }

  async function deploy(name: ContractName, args: readonly unknown[], operation?: string): Promise<Address> {
    const { abi, bytecode } = artifacts[name];
    return known(await paid(await walletOf(owner).deployContract({ abi, bytecode, args }), operation), `contract ${name}`);
  }

  return {
    costs,
    owner,
    stranger,
    deploy,
    async proxy(name, implementation, args, operation, initializer = "initialize") {
      const initData = encodeFunctionData({ abi: artifacts[name].abi, functionName: initializer, args });
      return { name, address: await deploy("ERC1967Proxy", [implementation, initData], operation) };
    },
    async send(to, call, args, operation, from = owner) {
      const data = encodeFunctionData({ abi: artifacts[to.name].abi, functionName: call, args });
      await paid(await walletOf(from).sendTransaction({ to: to.address, data }), operation);
    },
    async view(to, call, args, operation) {
      const data = encodeFunctionData({ abi: artifacts[to.name].abi, functionName: call, args });
      const gas = await client.estimateGas({ account: owner, to: to.address, data });
      costs.set(operation, { gas: Number(gas), calldata: size(data) });
    },
  };
}

/** Bytes of run-time code. */
export async function runtimeSize(name: ContractName): Promise<number> {
  const { deployedBytecode } = await hre.artifacts.readArtifact(name);
  return size(known(deployedBytecode, `run-time code of ${name}`));
}

function known<T>(value: T | null | undefined, what: string): T {
  if (value === undefined || value === null) throw new Error(`the chain has no ${what}`);
  return value;
}
