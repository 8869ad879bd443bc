/** A chain of its own with a trust domain in the hands of an access manager, handed over by the Ignition module. */
import hre from "hardhat";
import {
  type Abi,
  type Address,
  BaseError,
  ContractFunctionRevertedError,
  encodeFunctionData,
  getAddress,
  type Hex,
  isAddressEqual,
} from "viem";
import GovernanceModule from "../../ignition/modules/Governance.ts";

export interface Contract {
  readonly address: Address;
  readonly abi: Abi;
}

export type Parameters = Readonly<Record<string, Address | number | bigint>>;

export const DAY = 86_400;
export const ZERO_ADDRESS: Address = "0x0000000000000000000000000000000000000000";

export const [kmsAbi, managerAbi, accountAbi, appAbi]: readonly [Abi, Abi, Abi, Abi] = [
  (await hre.artifacts.readArtifact("KmsAuth")).abi,
  (await hre.artifacts.readArtifact("AccessManager")).abi,
  (await hre.artifacts.readArtifact("MultiOwnerAccount")).abi,
  (await hre.artifacts.readArtifact("AppAuth")).abi,
];

const chain = await hre.network.create();
export const { networkHelpers } = chain;
export const client = await chain.viem.getPublicClient();
const wallets = await chain.viem.getWalletClients();

export const ACCOUNTS = {
  deployer: account(0),
  curator: account(1),
  upgrader: account(2),
  guardian: account(3),
  operator: account(4),
  admin: account(5),
  stranger: account(6),
} as const;

function account(index: number): Address {
  const wallet = wallets[index];
  if (wallet === undefined) throw new Error(`the test chain has no account ${index}`);
  return getAddress(wallet.account.address);
}

function walletOf(address: Address) {
  const wallet = wallets.find((candidate) => isAddressEqual(candidate.account.address, address));
  if (wallet === undefined) throw new Error(`${address} is not an account of the test chain`);
  return wallet;
}

/** A trust domain that still belongs to its deployer. */
export async function deployTrustDomain(): Promise<Contract> {
  const [kms, app] = [await chain.viem.deployContract("KmsAuth"), await chain.viem.deployContract("AppAuth")];
  const args = [ACCOUNTS.deployer, app.address];
  const initData = encodeFunctionData({ abi: kmsAbi, functionName: "initializeStrict", args });
  const proxy = await chain.viem.deployContract("ERC1967Proxy", [kms.address, initData]);
  return { address: getAddress(proxy.address), abi: kmsAbi };
}

/** An app of the deployer's, which has an owner as a trust domain has. */
export async function deployApp(): Promise<Address> {
  const app = await chain.viem.deployContract("AppAuth");
  const args = [ACCOUNTS.deployer, false, true, `0x${"00".repeat(32)}`, `0x${"00".repeat(32)}`];
  const initData = encodeFunctionData({ abi: appAbi, functionName: "initialize", args });
  return getAddress((await chain.viem.deployContract("ERC1967Proxy", [app.address, initData])).address);
}

export async function deployAccount(owners: readonly Address[]): Promise<Contract> {
  const { address } = await chain.viem.deployContract("MultiOwnerAccount", [[...owners]]);
  return { address: getAddress(address), abi: accountAbi };
}

export async function deployKmsImplementation(): Promise<Address> {
  return getAddress((await chain.viem.deployContract("KmsAuth")).address);
}

/** Runs the module; what a test does not name is held by the account of that name. */
export async function handOver(kms: Contract, parameters: Parameters = {}): Promise<Contract> {
  const { curator, upgrader, guardian, operator, admin } = ACCOUNTS;
  const all = { kmsAuth: kms.address, curator, upgrader, guardian, operator, admin, ...parameters };
  const { manager } = await chain.ignition.deploy(GovernanceModule, { parameters: { Governance: all } });
  return { address: getAddress(manager.address), abi: managerAbi };
}

export async function send(from: Address, contract: Contract, functionName: string, args: readonly unknown[] = []): Promise<Hex> {
  return walletOf(from).writeContract({ ...contract, functionName, args });
}

export async function ask(contract: Contract, functionName: string, args: readonly unknown[] = []): Promise<unknown> {
  return client.readContract({ ...contract, functionName, args });
}

/** The custom error of a call without its values; undefined when the call succeeds. */
export async function refusal(from: Address, contract: Contract, functionName: string, args: readonly unknown[] = []) {
  try {
    await client.simulateContract({ ...contract, functionName, args, account: from });
    return undefined;
  } catch (error) {
    const revert = error instanceof BaseError ? error.walk((cause) => cause instanceof ContractFunctionRevertedError) : undefined;
    if (!(revert instanceof ContractFunctionRevertedError)) throw error;
    return revert.data?.errorName ?? revert.signature ?? "";
  }
}

export function call(functionName: string, args: readonly unknown[] = [], abi: Abi = kmsAbi): Hex {
  return encodeFunctionData({ abi, functionName, args });
}
