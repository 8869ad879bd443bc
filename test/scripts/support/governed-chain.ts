/** A chain whose trust domain was handed over by the command: a session for each role, and a clock that jumps. */
import hre from "hardhat";
import { createHardhatRuntimeEnvironment } from "hardhat/hre";
import { getAddress, type Hex, isHex } from "viem";
import config from "../../../hardhat.config.ts";
import type { ChainSession } from "../../../scripts/lib/chain-session.ts";
import type { Governed } from "../../../scripts/lib/governance-input.ts";
import type { Terms, TermsContract } from "../../../scripts/lib/hand-over.ts";
import { type RunModule, runGovernanceModule } from "../../../scripts/tasks/governance-hand-over.ts";
import type { TestChain } from "../../auth-eth/support/chain.ts";

export const day = 86_400;
const accounts = ["deployer", "curator", "upgrader", "guardian", "operator", "admin", "stranger"] as const;
export type Account = (typeof accounts)[number];

export async function sessionsOf({ session, viem }: TestChain): Promise<Record<Account, ChainSession>> {
  const wallets = await viem.getWalletClients();
  const sessionAt = (index: number): ChainSession => {
    const wallet = wallets[index];
    if (wallet === undefined) throw new Error(`the chain has no account ${index}`);
    return { ...session, wallet, sender: getAddress(wallet.account.address) };
  };
  return {
    deployer: sessionAt(0),
    curator: sessionAt(1),
    upgrader: sessionAt(2),
    guardian: sessionAt(3),
    operator: sessionAt(4),
    admin: sessionAt(5),
    stranger: sessionAt(6),
  };
}

export function termsFor(kmsAuth: Hex, sessions: Record<Account, ChainSession>): Terms {
  return {
    kmsAuth: getAddress(kmsAuth),
    curator: sessions.curator.sender,
    upgrader: sessions.upgrader.sender,
    guardian: sessions.guardian.sender,
    operator: sessions.operator.sender,
    admin: sessions.admin.sender,
    curatorDelay: 2 * day,
    upgraderDelay: 7 * day,
    operatorDelay: day,
    adminDelay: 7 * day,
  };
}

export async function termsContract(): Promise<TermsContract> {
  const { abi, bytecode } = await hre.artifacts.readArtifact("GovernanceTerms");
  if (!isHex(bytecode)) throw new Error("the artifact has no bytecode");
  return { abi, bytecode };
}

/** As the command does it; the journal goes to a folder of the test's. */
export async function moduleRunner({ rpcUrl, session }: TestChain, ignition: string): Promise<RunModule> {
  const { localhost } = config.networks ?? {};
  if (localhost?.type !== "http") throw new Error("localhost is no HTTP network");
  const networks = { ...config.networks, localhost: { ...localhost, url: rpcUrl } };
  const own = await createHardhatRuntimeEnvironment(
    { ...config, networks, paths: { ...config.paths, ignition } },
    { network: "localhost" },
    hre.config.paths.root,
  );
  return (terms) => runGovernanceModule(own, session, terms);
}

export async function pass(chain: TestChain, seconds: number): Promise<void> {
  await chain.rpc("evm_increaseTime", [seconds]);
  await chain.rpc("evm_mine", []);
}

export function governedBy(session: ChainSession, target: Hex, authority: Hex): Governed {
  return { session, target, authority };
}
