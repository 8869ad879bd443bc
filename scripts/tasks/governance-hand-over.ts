/** Hands a trust domain over to an AccessManager: additions wait from then on, removals do not. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { getAddress, type Hex, isHex } from "viem";
import { deploymentId } from "../../ignition/deployment-id.ts";
import Governance from "../../ignition/modules/Governance.ts";
import { KmsError } from "../../kms/errors.ts";
import { findAuthority } from "../lib/authority.ts";
import { type ChainSession, onChain, openSession } from "../lib/chain-session.ts";
import { chainLines, chainOf } from "../lib/change.ts";
import { type CommandResult, hinted, runCommand } from "../lib/cli.ts";
import {
  type DelayArguments,
  type HolderArguments,
  needHandable,
  parseTerms,
  type Terms,
  type TermsContract,
  termsLines,
} from "../lib/hand-over.ts";
import { kmsAuthAddress } from "../lib/values.ts";

export interface HandOverArguments extends HolderArguments, DelayArguments {
  readonly kmsAuth: string | undefined;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** Runs the Ignition module; gives the address of the AccessManager. */
export type RunModule = (terms: Terms) => Promise<Hex>;

export default function governanceHandOver(input: HandOverArguments, hre: HardhatRuntimeEnvironment): Promise<void> {
  return runCommand(input, async () => {
    const terms = parseTerms(kmsAuthAddress(input.kmsAuth), input);
    const session = await openSession(hre);
    await hre.tasks.getTask("build").run({ quiet: true, noTests: true });
    const runModule: RunModule = (given) => runGovernanceModule(hre, session, given);
    return handOver(session, terms, await termsContract(hre), { runModule, dryRun: input.dryRun });
  });
}

async function termsContract(hre: HardhatRuntimeEnvironment): Promise<TermsContract> {
  const { abi, bytecode } = await hre.artifacts.readArtifact("GovernanceTerms");
  if (!isHex(bytecode)) throw new KmsError("fault.internal", "the artifact of GovernanceTerms has no bytecode");
  return { abi, bytecode };
}

/** A journal for each trust domain: a run that was interrupted continues where it was. */
export async function runGovernanceModule(hre: HardhatRuntimeEnvironment, session: ChainSession, terms: Terms): Promise<Hex> {
  const { hash } = await onChain(() => session.reader.getBlock({ blockNumber: 0n }));
  const journal = `${deploymentId(session.chainId, hash)}-governance-${terms.kmsAuth.slice(2, 10).toLowerCase()}`;
  const connection = await hre.network.create();
  try {
    const { manager } = await connection.ignition.deploy(Governance, {
      parameters: { Governance: { ...terms } },
      deploymentId: journal,
      defaultSender: session.sender,
    });
    return getAddress(manager.address);
  } catch (cause) {
    const [why = "unknown error"] = (cause instanceof Error ? cause.message : "").split("\n", 1);
    const hint = `the same command goes on where it stopped; the journal is ignition/deployments/${journal}`;
    throw hinted("unavailable.chain", `the hand-over stopped: ${why}`, hint, { cause });
  } finally {
    await connection.close();
  }
}

export async function handOver(
  session: ChainSession,
  terms: Terms,
  contract: TermsContract,
  { runModule, dryRun }: { runModule: RunModule; dryRun: boolean },
): Promise<CommandResult> {
  await needHandable(session, terms, contract);
  const authority = dryRun ? null : await runModule(terms);
  if (authority !== null && (await findAuthority(session, terms.kmsAuth)) !== authority)
    throw new KmsError("fault.internal", "the trust domain does not belong to the new access manager");
  const { kmsAuth, ...named } = terms;
  const json = {
    task: "governance hand-over",
    dryRun,
    ...chainOf(session),
    contract: kmsAuth,
    terms: named,
    governance: authority && { authority },
    changed: authority !== null,
  };
  const lines = [
    ...chainLines(session),
    `contract  ${kmsAuth}`,
    ...termsLines(terms),
    authority === null ? "not sent  dry run" : `done      owned by AccessManager ${authority}`,
  ];
  return {
    json,
    text: lines.join("\n"),
    notes: ["the sender keeps no power but the roles named here: check every address before you go on"],
  };
}
