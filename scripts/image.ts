/** The command `image`: names its options, and leaves the work to image-measure.ts and image-diagnose.ts. */
import { Command } from "commander";
import type { Code } from "../kms/errors.ts";
import { type DiagnoseFlags, diagnose } from "./image-diagnose.ts";
import { type DocumentFlags, type MeasureFlags, measure, writeDocument } from "./image-measure.ts";
import { runProgram, type Work, withHints } from "./lib/program.ts";

const MEASURE = `Print the launch registers that an OS image leads to.

DIR is an unpacked image with sha256sum.txt and metadata.json. RTMR0 covers the ACPI tables of the machine, whose digests come from
the program dstack-acpi-tables (on the PATH, or --acpi-program), from a file of known digests (--acpi), or from the event log of a
guest on such a machine (--evidence). With --json, acpi.entry is an entry for a file of known digests.`;

const DOCUMENT = `Write measurement.tdx.cbor, which a lite guest brings in place of the image.

It goes into DIR, where sha256sum.txt has to list it: the line to add is printed.`;

const DIAGNOSE = `Say why the registers of a guest are not those of an image.

The guest is evidence in any form that \`evidence verify\` reads, or a JSON object with mrtd, rtmr0, rtmr1 and rtmr2 in hex, and an
event_log if there is one. Other page orders, memory sizes, command lines, kernels without the loader's changes and other ACPI
digests are tried; with an event log, event by event. Exits with 3 if a register differs.`;

const hints: Readonly<Partial<Record<Code, string>>> = {
  "malformed.os-image": "DIR has to be an unpacked image whose files match its sha256sum.txt",
  "malformed.vm-config": "--vm-config takes the vm_config that a guest agent reports, or the one of the VM manager",
  "unavailable.acpi-tables":
    "pass --acpi FILE with an entry for this machine, --acpi-program PATH, or --evidence FILE of a guest on it",
};

type Json = { readonly json?: true };

function createProgram(chosen: (work: Work) => void): Command {
  const program = new Command("image").description("Measure OS images, and explain measurements.");
  const run = (work: Work) => chosen(() => withHints(hints, work));
  program
    .command("measure")
    .summary("print the expected registers")
    .description(MEASURE)
    .argument("<dir>", "image")
    .requiredOption("--vm-config <file>", "VM configuration as JSON")
    .option("--acpi <file>", "file of known ACPI digests")
    .option("--acpi-program <path>", "program that prints the ACPI tables")
    .option("--evidence <file>", "evidence of a guest on such a machine, for its ACPI digests")
    .option("--json", "one JSON document on stdout")
    .action((dir: string, flags: MeasureFlags & Json) => run(() => measure(dir, flags)));
  program
    .command("document")
    .summary("write measurement.tdx.cbor")
    .description(DOCUMENT)
    .argument("<dir>", "image")
    .option("--out <file>", "where to write it; default DIR/measurement.tdx.cbor")
    .option("--force", "write over what is there")
    .option("--json", "one JSON document on stdout")
    .action((dir: string, flags: DocumentFlags & Json) => run(() => writeDocument(dir, flags)));
  program
    .command("diagnose")
    .summary("explain why a guest has other registers")
    .description(DIAGNOSE)
    .argument("<dir>", "image")
    .option("--vm-config <file>", "VM configuration as JSON; default the one inside the evidence")
    .option("--evidence <file>", "evidence of the guest")
    .option("--registers <file>", "registers of the guest as JSON")
    .option("--acpi <file>", "file of known ACPI digests; entries of other machines are tried as well")
    .option("--acpi-program <path>", "program that prints the ACPI tables")
    .option("--cmdline <text...>", "other command lines to try")
    .option("--json", "one JSON document on stdout")
    .action((dir: string, flags: DiagnoseFlags & Json) => run(() => diagnose(dir, flags)));
  return program;
}

await runProgram(createProgram, "./run image --help");
