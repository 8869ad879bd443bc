/** The command `evidence`: names its options, and leaves the work to evidence-verify.ts and the terminal to lib/cli.ts. */
import { Command } from "commander";
import { DEFAULT_PCCS_URL } from "../kms/attestation/tdx/pccs.ts";
import type { Code } from "../kms/errors.ts";
import { type EvidenceReport, type EvidenceVerifyOptions, verifyEvidenceFile } from "./evidence-verify.ts";
import type { CommandResult } from "./lib/cli.ts";
import { runProgram, type Work, withHints } from "./lib/program.ts";

const DESCRIPTION = `Verify TEE evidence by the code that serves GetAppKey.

FILE is a raw quote (bytes, hex with or without 0x, or a JSON array of byte values), an attestation envelope (V0 or V1),
a certificate that carries one (DER, or PEM, such as \`openssl s_client -showcerts\` prints), or a JSON capture with a hex \`quote\` or \`attestation\` member. A quote without an event log proves no boot: bootInfo is null.
The report data has to be that of a certificate's key; otherwise it is printed, not judged: compare it with the value you expect.`;

const hints: Readonly<Partial<Record<Code, string>>> = {
  "unavailable.collateral": "pass --collateral FILE to verify without a network, or --pccs URL for another server",
  "unproven.certificate-chain": "pass --root FILE if the evidence is of another root, such as a simulator's",
  "unproven.collateral-expired": "pass --at ISO-TIME to verify at the time the collateral is of",
  "malformed.file": "./run evidence verify --help lists the forms a file may have",
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
    .option("--json", "one JSON document on stdout")
    .action((file: string, flags: Flags) => chosen(() => withHints(hints, () => verify(file, flags))));
  return program;
}

async function verify(file: string, flags: Flags): Promise<CommandResult> {
  const report = await verifyEvidenceFile(file, flags);
  return { json: report, text: inWords(report) };
}

function inWords(report: EvidenceReport): string {
  const measurements =
    report.kind === "tdx"
      ? { mrtd: report.mrtd, ...Object.fromEntries(report.rtmr.map((value, index) => [`rtmr${index}`, value])) }
      : { mrEnclave: report.mrEnclave, mrSigner: report.mrSigner };
  const lines = Object.entries({
    kind: report.kind,
    tcbStatus: report.tcbStatus,
    ...measurements,
    reportData: report.reportData,
    ...(report.certificate === undefined ? {} : { boundTo: report.certificate.spki, usage: report.certificate.usage ?? "none" }),
    ...(report.bootInfo ?? { bootInfo: "none: the file holds a quote without an event log" }),
    advisoryIds: report.advisoryIds.join(" ") || "none",
  });
  return ["verified", ...lines.map(([name, value]) => `  ${name.padEnd(16)} ${value}`)].join("\n");
}

await runProgram(createProgram, "./run evidence verify --help");
