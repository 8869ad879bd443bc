/** A chain of its own with a compatible trust domain deployed by Ignition, and the three verbs of the contract tests: send, ask, refusal. */
import hre from "hardhat";
import {
  type Abi,
  type Address,
  BaseError,
  ContractFunctionRevertedError,
  decodeEventLog,
  encodeFunctionData,
  getAddress,
  getContractAddress,
  type Hash,
  type Hex,
  isAddressEqual,
  keccak256,
  pad,
  toHex,
} from "viem";
import { afterEach, beforeEach } from "vitest";
import KmsAuthCompatible from "../../ignition/modules/KmsAuthCompatible.ts";

export interface Contract {
  readonly address: Address;
  readonly abi: Abi;
}

/** A log as a test states it: who emitted what. */
export type StatedLog = readonly [emitter: Address, event: string, args: Record<string, unknown>];

/** A change, what it emits, what the audit trail says of it, and the getter that follows. */
export type SetterRow = readonly [
  setter: string,
  args: readonly unknown[],
  event: string,
  eventArgs: Record<string, unknown>,
  policy: string,
  value: Hex,
  enabled: boolean,
  getter: string,
  getterArgs: readonly unknown[],
];

export const [appAbi, kmsAbi, proxyAbi]: readonly [Abi, Abi, Abi] = [
  (await hre.artifacts.readArtifact("AppAuth")).abi,
  (await hre.artifacts.readArtifact("KmsAuth")).abi,
  (await hre.artifacts.readArtifact("ERC1967Proxy")).abi,
];

export const tag = (name: string): Hex => keccak256(toHex(name));
export const word = (name: string): Hex => keccak256(toHex(`test ${name}`));
export const addressOf = (name: string): Address => getAddress(`0x${word(name).slice(-40)}`);
export const unauthorized = (caller: Address): string => `OwnableUnauthorizedAccount(${caller})`;
export const padded = (address: Address): Hex => toHex(BigInt(address), { size: 32 });
export const ZERO_ADDRESS: Address = "0x0000000000000000000000000000000000000000";
export const ZERO_WORD: Hex = pad("0x");
export const IMPLEMENTATION_SLOT: Hex = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc";

export const BOOT_INFO = {
  appId: ZERO_ADDRESS,
  composeHash: word("compose"),
  instanceId: ZERO_ADDRESS,
  deviceId: word("device"),
  mrAggregated: word("aggregated mr"),
  mrSystem: word("system mr"),
  osImageHash: word("os image"),
  tcbStatus: "UpToDate",
  advisoryIds: ["INTEL-SA-00001", "INTEL-SA-00002"],
} as const;

const chain = await hre.network.create();
const { networkHelpers } = chain;
const client = await chain.viem.getPublicClient();
const wallets = await chain.viem.getWalletClients();
const deployed = await chain.ignition.deploy(KmsAuthCompatible);

export const kms: Contract = { address: getAddress(deployed.kmsAuth.address), abi: kmsAbi };
export const appImplementation = getAddress(deployed.appImplementation.address);
export const kmsImplementation = getAddress(deployed.kmsImplementation.address);
export const [owner, appOwner, stranger]: readonly [Address, Address, Address] = [account(0), account(1), account(2)];
export { client, networkHelpers };

function account(index: number): Address {
  const wallet = wallets[index];
  if (wallet === undefined) throw new Error(`the test chain has no account ${index}`);
  return getAddress(wallet.account.address);
}

/** Every test of the file finds the chain as the file's first lines left it. */
export function restoreAfterEach(): void {
  let snapshot: Awaited<ReturnType<typeof networkHelpers.takeSnapshot>>;
  beforeEach(async () => {
    snapshot = await networkHelpers.takeSnapshot();
  });
  afterEach(() => snapshot.restore());
}

export function walletOf(address: Address) {
  const wallet = wallets.find((candidate) => isAddressEqual(candidate.account.address, address));
  if (wallet === undefined) throw new Error(`${address} is not an account of the test chain`);
  return wallet;
}

/** Sends a transaction and answers its logs, in order and decoded. */
export async function send(
  from: Address,
  contract: Contract,
  functionName: string,
  args: readonly unknown[] = [],
): Promise<StatedLog[]> {
  return logsOf(await walletOf(from).writeContract({ ...contract, functionName, args }));
}

export async function logsOf(hash: Hash): Promise<StatedLog[]> {
  const receipt = await client.getTransactionReceipt({ hash });
  return receipt.logs.map(({ address, data, topics }) => {
    const { eventName, args } = decodeEventLog({ abi: [...kmsAbi, ...appAbi, ...proxyAbi], data, topics });
    if (eventName === undefined) throw new Error(`a log of ${address} has no name in the ABI`);
    return [getAddress(address), eventName, { ...args }];
  });
}

export async function ask(contract: Contract, functionName: string, args: readonly unknown[] = []): Promise<unknown> {
  return client.readContract({ ...contract, functionName, args });
}

/** The revert of a call, as `reason text`, `Error(args)`, or "" for no data at all; undefined when the call succeeds. */
export async function refusal(
  from: Address,
  contract: Contract,
  functionName: string,
  args: readonly unknown[] = [],
  value = 0n,
) {
  try {
    await client.simulateContract({ ...contract, functionName, args, account: from, ...(value > 0n ? { value } : {}) });
    return undefined;
  } catch (error) {
    return revertOf(error);
  }
}

function revertOf(error: unknown): string {
  const revert = error instanceof BaseError ? error.walk((cause) => cause instanceof ContractFunctionRevertedError) : undefined;
  if (!(revert instanceof ContractFunctionRevertedError)) throw error;
  if (revert.data === undefined) return revert.signature ?? "";
  const args = (revert.data.args ?? []).map(String);
  return revert.data.errorName === "Error" ? args.join() : `${revert.data.errorName}(${args.join()})`;
}

/** A proxy built with its initialization, from any of the two implementations. */
export async function deployProxy(implementation: Address, initData: Hex): Promise<{ address: Address; logs: StatedLog[] }> {
  const { bytecode } = await hre.artifacts.readArtifact("ERC1967Proxy");
  const hash = await walletOf(owner).deployContract({ abi: proxyAbi, bytecode, args: [implementation, initData] });
  const { contractAddress } = await client.getTransactionReceipt({ hash });
  if (!contractAddress) throw new Error("the proxy was not created");
  return { address: getAddress(contractAddress), logs: await logsOf(hash) };
}

export async function deployImplementation(name: string): Promise<{ address: Address; logs: StatedLog[] }> {
  const { abi, bytecode } = await hre.artifacts.readArtifact(name);
  const hash = await walletOf(owner).deployContract({ abi, bytecode: `0x${bytecode.slice(2)}` });
  const { contractAddress } = await client.getTransactionReceipt({ hash });
  if (!contractAddress) throw new Error("the implementation was not created");
  return { address: getAddress(contractAddress), logs: await logsOf(hash) };
}

/** An app whose proxy anyone but the factory made; the number of arguments selects the form of initialize. */
export async function deployApp(args: readonly unknown[]): Promise<{ app: Contract; logs: StatedLog[] }> {
  const initData = encodeFunctionData({ abi: appAbi, functionName: "initialize", args });
  const { address, logs } = await deployProxy(appImplementation, initData);
  return { app: { address, abi: appAbi }, logs };
}

/** The app id that the factory will give next: plain CREATE from the proxy. */
export async function nextAppId(): Promise<Address> {
  return getContractAddress({ from: kms.address, nonce: BigInt(await client.getTransactionCount({ address: kms.address })) });
}

/** An app made by the factory; five arguments select the older overload. */
export async function createApp(args: readonly unknown[]): Promise<Contract> {
  const address = await nextAppId();
  await send(stranger, kms, "deployAndRegisterApp", args);
  return { address, abi: appAbi };
}

export function storageAt(address: Address, slot: Hex | number): Promise<Hex | undefined> {
  return client.getStorageAt({ address, slot: typeof slot === "number" ? toHex(slot) : slot });
}

export function policyChanged(emitter: Address, actor: Address, policy: string, value: Hex, enabled: boolean): StatedLog {
  return [emitter, "PolicyChanged", { actor, policy: tag(policy), value, enabled }];
}
