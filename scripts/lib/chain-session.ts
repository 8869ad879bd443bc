/** The chain and the account that `--network` names: reads, rehearsed calls, and transactions awaited to their receipt. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import type { Account, Chain, PublicClient, TransactionReceipt, Transport, WalletClient } from "viem";
import {
  type Abi,
  BaseError,
  ContractFunctionRevertedError,
  ContractFunctionZeroDataError,
  encodeFunctionData,
  getAddress,
  type Hex,
} from "viem";
import { KmsError } from "../../kms/errors.ts";
import { hinted, usageError } from "./cli.ts";
import { asRefusal, revertText } from "./contract-refusals.ts";

export interface ChainSession {
  readonly reader: PublicClient;
  readonly wallet: WalletClient<Transport, Chain, Account>;
  readonly sender: Hex;
  readonly network: string;
  readonly chainId: number;
}

/** One call of a contract's function, as it is rehearsed, shown and sent. */
export interface ContractCall {
  readonly address: Hex;
  readonly abi: Abi;
  readonly functionName: string;
  readonly args: readonly unknown[];
}

export async function openSession(hre: HardhatRuntimeEnvironment): Promise<ChainSession> {
  if (hre.globalOptions.network === undefined) {
    throw usageError("no network is named", "pass --network localhost or --network sepolia");
  }
  return onChain(async () => {
    const { viem, networkName } = await hre.network.create();
    const reader = await viem.getPublicClient();
    const [wallet] = await viem.getWalletClients();
    if (wallet === undefined)
      throw usageError(`network ${networkName} has no account`, "set its key: hardhat keystore set SEPOLIA_PRIVATE_KEY");
    return {
      reader,
      wallet,
      sender: getAddress(wallet.account.address),
      network: networkName,
      chainId: await reader.getChainId(),
    };
  });
}

/** What the call would return: it is refused here with the contract's own words, before anything is signed. */
export async function rehearse(session: ChainSession, call: ContractCall): Promise<unknown> {
  return onChain(async () => (await session.reader.simulateContract({ ...call, account: session.sender })).result);
}

/** Why a call of this data would be refused now, or null. For calls that somebody else will make. */
export async function refusalOf(session: ChainSession, call: { from: Hex; to: Hex; data: Hex }): Promise<string | null> {
  return onChain(async () => {
    try {
      await session.reader.call({ account: call.from, to: call.to, data: call.data });
      return null;
    } catch (cause) {
      const revert = cause instanceof BaseError ? cause.walk(hasData) : null;
      if (revert === null) throw cause;
      return hasData(revert) ? revertText(revert.data) : null;
    }
  });
}

const hasData = (error: unknown): error is { data: unknown } =>
  typeof error === "object" && error !== null && "data" in error && error.data !== undefined;

export async function send(session: ChainSession, call: ContractCall): Promise<TransactionReceipt> {
  const receipt = await onChain(async () => {
    const hash = await session.wallet.sendTransaction({ to: call.address, data: dataOf(call) });
    return session.reader.waitForTransactionReceipt({ hash });
  });
  if (receipt.status !== "success")
    throw new KmsError("denied.transaction", `transaction ${receipt.transactionHash} was reverted`);
  return receipt;
}

export function dataOf(call: ContractCall): Hex {
  return encodeFunctionData({ abi: call.abi, functionName: call.functionName, args: [...call.args] });
}

/** Errors of the chain's libraries as ours. Their long texts name the endpoint: only the short ones go on. */
export async function onChain<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw asChainError(cause);
  }
}

function asChainError(cause: unknown): KmsError {
  if (!(cause instanceof BaseError)) {
    const text = cause instanceof Error ? firstLine(cause.message) : "unknown error";
    return hinted(
      "unavailable.chain",
      `the chain cannot be used: ${text}`,
      "is the node running? are the network's variables set (hardhat keystore set NAME)?",
      {
        cause,
      },
    );
  }
  const revert = cause.walk((error) => error instanceof ContractFunctionRevertedError);
  if (revert instanceof ContractFunctionRevertedError) return asRefusal(revert, cause);
  if (cause.walk((error) => error instanceof ContractFunctionZeroDataError)) {
    return usageError("there is no such contract at the address", "check the address and the network");
  }
  return hinted(
    "unavailable.chain",
    `the chain cannot be used: ${firstLine(cause.shortMessage)}`,
    "is the node running, and the account funded?",
    { cause },
  );
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}
