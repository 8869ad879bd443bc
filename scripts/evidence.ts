/** The command `evidence`: names its options, and leaves the work to evidence-verify.ts and the terminal to lib/cli.ts. */
import { Command, Option } from "commander";
import { DEFAULT_PCCS_URL } from "../kms/attestation/tdx/pccs.ts";
import type { Code } from "../kms/errors.ts";
import { type KeyProviderOptions, keyProviderResult } from "./evidence-key-provider.ts";
import { inWords } from "./evidence-report.ts";
import { type EvidenceVerifyOptions, verifyEvidence } from "./evidence-verify.ts";
import type { CommandResult } from "./lib/cli.ts";
import { runProgram, type Work, withHints } from "./lib/program.ts";

const DESCRIPTION = `Verify TEE evidence by the code that serves GetAppKey.

FILE is a raw quote (bytes, hex with or without 0x, base64, or a JSON array of byte values), an attestation envelope (V0 or V1),
a certificate that carries one (DER, or PEM, such as \`openssl s_client -showcerts\` prints), or a JSON capture with a \`quote\` or \`attestation\` member in one of these forms.
A quote without an event log proves no boot: bootInfo is null.
The report data has to be that of a certificate's key; otherwise it is printed, not judged: compare it with the value you expect.
Registers that the event log, or the firmware's own with --ccel, does not account for are a refusal.`;

const KEY_PROVIDER_DESCRIPTION = `Prove which SGX enclave answered a guest in local-key-provider mode.

The answer's quote is verified by DCAP, has to be bound to the encrypted key, and to come from the machine of the guest's quote.
With --evidence, the guest has to have the launch registers of the one that asked, and its key-provider event has to name that enclave.
For whose public key the key is encrypted, and what it is, no quote says.`;

const hints: Readonly<Partial<Record<Code, string>>> = {
  "unavailable.collateral": "pass --collateral FILE to verify without a network, or --pccs URL for another server",
  "unproven.certificate-chain": "pass --root FILE if the evidence is of another root, such as a simulator's",
  "unproven.collateral-expired": "pass --at ISO-TIME to verify at the time the collateral is of",
  "unproven.key-provider": "./run evidence verify without demands shows what the guest recorded",
  "malformed.file": "./run evidence verify --help lists the forms a file may have",
};

const keyProviderHints: typeof hints = {
  ...hints,
  "unavailable.collateral": "pass --collateral and --sgx-collateral to prove it without a network",
  "unproven.key-provider": "compare with the key-provider event that ./run evidence verify shows",
  "malformed.file": "--response is JSON with encrypted_key and provider_quote, as the host's key provider answers",
};

interface Flags extends EvidenceVerifyOptions {
  readonly json?: true;
}

function createProgram(chosen: (work: Work) => void): Command {
  const program = new Command("evidence").description("Read and verify TEE evidence.");
  program
    .command("verify")
    .summary("verify a quote, an envelope or a capture")
    .description(DESCRIPTION)
    .argument("<file>", "evidence")
    .option("--collateral <file>", "collateral as JSON; without it, it is fetched")
    .option("--pccs <url>", "collateral server", DEFAULT_PCCS_URL)
    .option("--root <file>", "trust anchor, DER or PEM, in place of Intel's root")
    .option("--at <time>", "verify at this time, e.g. 2026-06-15T00:00:00Z; default now")
    .option("--vm-config <file>", "VM configuration as JSON, in place of the one inside the evidence")
    .option(
      "--event-log <file>",
      "the guest's event log as JSON, or a document with an event_log member, for a quote that comes without one",
    )
    .option("--ccel <file>", "the firmware's event log, the guest's ACPI table CCEL: RTMR0 to 2 have to follow from it")
    .option("--mr-config <file>", "the document that mr_config_id hashes, if it is of version 3")
    .addOption(new Option("--key-provider <mode>", "what has to have sealed the disk").choices(["none", "local", "kms", "tpm"]))
    .option("--key-provider-id <hex>", "its id: the enclave's MRENCLAVE, or the KMS root CA's SubjectPublicKeyInfo")
    .option("--root-ca <file>", "the KMS whose root CA this is has to have given the disk key")
    .option("--json", "one JSON document on stdout")
    .action((file: string, flags: Flags) => chosen(() => withHints(hints, () => verify(file, flags))));
  program
    .command("key-provider")
    .summary("prove which SGX enclave answered a guest that asked for its disk key")
    .description(KEY_PROVIDER_DESCRIPTION)
    .requiredOption("--response <file>", "the key provider's answer, JSON")
    .requiredOption("--quote <file>", "the quote that the guest asked with")
    .option("--evidence <file>", "evidence of the guest now, in any form that verify reads")
    .option("--mr-enclave <hex>", "refuse any other enclave")
    .option("--collateral <file>", "TDX collateral as JSON; without it, it is fetched")
    .option("--sgx-collateral <file>", "SGX collateral as JSON; without it, it is fetched")
    .option("--pccs <url>", "collateral server", DEFAULT_PCCS_URL)
    .option("--root <file>", "trust anchor, DER or PEM, in place of Intel's root")
    .option("--at <time>", "verify at this time, e.g. 2026-06-15T00:00:00Z; default now")
    .option("--json", "one JSON document on stdout")
    .action((flags: KeyProviderOptions) => chosen(() => withHints(keyProviderHints, () => keyProviderResult(flags))));
  return program;
}

async function verify(file: string, flags: Flags): Promise<CommandResult> {
  const { report, notes } = await verifyEvidence(file, flags);
  return { json: report, text: inWords(report), notes };
}

await runProgram(createProgram, "./run evidence --help");
