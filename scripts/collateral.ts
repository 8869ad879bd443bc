/** `./run collateral`: bundles for nodes without a network, and what the collateral folder of a KMS holds. */
import { Command, Option } from "commander";
import type { Code } from "../kms/errors.ts";
import {
  type ExportFlags,
  exportCollateral,
  type FetchFlags,
  type FolderFlags,
  fetchCollateral,
  importCollateral,
  resetFolder,
  showStatus,
} from "./collateral-work.ts";
import { runProgram, type Work, withHints } from "./lib/program.ts";

const DESCRIPTION = `Carry collateral between nodes, and look at what a KMS keeps of it.

The folder is the one that the configuration of the KMS names, found as the KMS finds it, or the one of --dir.
A KMS that runs sees an import, or a reset, within fifteen seconds, and at once when it would otherwise refuse.`;

const RESET = `Forget every part of collateral and how new each was.

What is given up: the folder knows for every platform, list and identity the newest that was accepted, and refuses what is older,
also after a restart. After a reset an older issue that has not ended yet is accepted again, such as one from before a revocation.
A KMS with a network fetches everything anew; one without releases no keys until a bundle is imported.`;

const hints: Readonly<Partial<Record<Code, string>>> = {
  "unproven.certificate-chain": "name the trust anchor of the bundle with -c FILE or --root FILE",
  "unproven.collateral-older": "make a newer bundle; ./run collateral status shows what the folder has",
  "unproven.collateral-expired": "make a newer bundle, or set the clock of this machine",
  "unproven.crl": "make a newer bundle, with lists of this trust anchor",
  "unavailable.collateral": "./run collateral status shows what the folder has",
  "fault.collateral-store": "run it as the user of the KMS, or name the folder with --dir",
};

function createProgram(chosen: (work: Work) => void): Command {
  const program = new Command("collateral").description(DESCRIPTION);
  const start = (work: Work) => chosen(() => withHints(hints, work));
  common(program.command("status").summary("show the parts, their numbers, dates and ends"))
    .description("Show every part in the folder as a KMS that started now would judge it.")
    .action((flags: FolderFlags) => start(() => showStatus(flags)));
  common(program.command("export").summary("write a bundle of all parts that are good now"))
    .description(
      "Write a bundle: one JSON file with every part that is good now. With --fmspc, one platform's collateral as other tools read it.",
    )
    .argument("[file]", "where to; without it, stdout")
    .option("--fmspc <hex>", "platform, 12 hex digits")
    .addOption(new Option("--tee <tee>", "of --fmspc").choices(["tdx", "sgx"]).default("tdx"))
    .addOption(new Option("--ca <ca>", "of --fmspc").choices(["platform", "processor"]).default("platform"))
    .action((file: string | undefined, flags: ExportFlags) => start(() => exportCollateral(file, flags)));
  common(program.command("fetch").summary("ask the PCCS for a platform's parts"))
    .description(
      "Fetch what quotes of one platform need, verify it, and keep it in the folder: for a machine that makes bundles and runs no KMS.",
    )
    .requiredOption("--fmspc <hex>", "platform, 12 hex digits")
    .addOption(new Option("--tee <tee>", "of the quotes").choices(["tdx", "sgx"]).default("tdx"))
    .addOption(
      new Option("--ca <ca>", "that issued the machines' certificates").choices(["platform", "processor"]).default("platform"),
    )
    .option("--pccs <url>", "in place of the configuration's")
    .option("--proxy <url>", "HTTP proxy to go through by CONNECT; default HTTPS_PROXY, unless NO_PROXY excepts the host")
    .action((flags: FetchFlags) => start(() => fetchCollateral(flags)));
  common(program.command("import").summary("take a bundle in, all of it or nothing"))
    .description(
      "Verify every part of a bundle, then keep all of them, or none. Also takes one platform's collateral as other tools write it.",
    )
    .argument("<file>", "bundle")
    .option("--dry-run", "verify only")
    .action((file: string, flags: FolderFlags & { readonly dryRun?: true }) => start(() => importCollateral(file, flags)));
  common(program.command("reset").summary("forget everything, also how new it was"))
    .description(RESET)
    .option("--yes", "do it")
    .action((flags: FolderFlags & { readonly yes?: true }) => start(() => resetFolder(flags)));
  return program;
}

function common(command: Command): Command {
  return command
    .option("-c, --config <file>", "configuration of the KMS")
    .option("--dir <folder>", "the folder, in place of the configuration's")
    .option("--root <file>", "trust anchor, DER or PEM, in place of the configuration's; with --dir alone it is Intel's root")
    .option("--json", "one JSON document on stdout");
}

await runProgram(createProgram, "./run collateral --help");
