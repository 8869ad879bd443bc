/** The command `kms-backup`: names its options, reads what they name, and shows what the tasks say. */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { Command } from "commander";
import { parseRecipients } from "../kms/backup/age.ts";
import { maxArchiveBytes } from "../kms/backup/archive.ts";
import { createBackup, drillBackup, type Opening, restoreBackup } from "../kms/backup/tasks.ts";
import { type Code, KmsError } from "../kms/errors.ts";
import { type CommandResult, processTerminal } from "./lib/cli.ts";
import { readInput, readInputText } from "./lib/input-file.ts";
import { runProgram, type Work, withHints } from "./lib/program.ts";

const defaultCertDir = "/etc/kms/certs";
const memoryDir = "/dev/shm";
const maxTextBytes = 64 * 1024;
const othersMayAccess = 0o077;

const hints: Readonly<Partial<Record<Code, string>>> = {
  "malformed.backup": "try the other identities; age -d -i FILE ARCHIVE | tar -t shows what an archive holds",
  "denied.folder-not-empty": "restore into a new folder, compare, and only then let cert_dir name it",
  "fault.key-store": "nothing was written, or what was written is sealed and a start of the KMS completes it",
};

interface CreateFlags {
  readonly certDir: string;
  readonly recipient: readonly string[];
  readonly recipientsFile?: string;
  readonly out: string;
}

interface OpenFlags {
  readonly identity: string;
  readonly certDir?: string;
  readonly workDir: string;
}

function createProgram(chosen: (work: Work) => void): Command {
  const program = new Command("kms-backup").description("Back up the keys of a KMS, restore them, and rehearse it.");
  const collect = (value: string, before: readonly string[]) => [...before, value];
  program
    .command("create")
    .summary("write an encrypted archive of a certificate folder")
    .description("Any one of the recipients can open the archive. The KMS may run.")
    .option("--cert-dir <dir>", "core.cert_dir of the KMS", defaultCertDir)
    .option("-r, --recipient <age1…>", "who can open it; may be given again", collect, [])
    .option("-R, --recipients-file <file>", "recipients, one a line")
    .requiredOption("-o, --out <file>", "the archive, which must not exist")
    .option("--json", "one JSON document on stdout")
    .action((flags: CreateFlags) => chosen(() => withHints(hints, () => create(flags))));
  program
    .command("restore")
    .summary("restore an archive into an empty folder")
    .description("Writes all files or none, after checking that they are whole and belong together.")
    .argument("<archive>", "what create wrote")
    .requiredOption("-i, --identity <file>", "file of age identities, mode 0600")
    .requiredOption("--cert-dir <dir>", "an empty folder, or one to be made")
    .option("--json", "one JSON document on stdout")
    .action((file: string, flags: OpenFlags & { certDir: string }) =>
      chosen(() => withHints(hints, () => restore(file, flags, flags.certDir))),
    );
  program
    .command("drill")
    .summary("restore into a temporary folder and compare the derived keys")
    .description(
      "Shows that the archive brings back a KMS with the same keys, prints public values only, and removes the folder.",
    )
    .argument("<archive>", "what create wrote")
    .requiredOption("-i, --identity <file>", "file of age identities, mode 0600")
    .option("--cert-dir <dir>", "compare with this certificate folder too")
    .option("--work-dir <dir>", "where the temporary folder is made", workDir())
    .option("--json", "one JSON document on stdout")
    .action((file: string, flags: OpenFlags) => chosen(() => withHints(hints, () => drill(file, flags))));
  return program;
}

async function create(flags: CreateFlags): Promise<CommandResult> {
  const listed = flags.recipientsFile === undefined ? "" : await readInputText(flags.recipientsFile, maxTextBytes);
  const recipients = [...flags.recipient, ...parseRecipients(listed)];
  const out = resolve(flags.out);
  const { keys, ...sealed } = await createBackup({ certDir: flags.certDir, recipients, out }, say);
  const text = `backed up to ${out}, ${sealed.bytes} bytes for ${sealed.recipients} recipients\n${shown(keys)}`;
  return { json: { archive: out, ...sealed, ...keys }, text };
}

async function restore(file: string, flags: OpenFlags, folder: string): Promise<CommandResult> {
  const certDir = resolve(folder);
  const { keys, ...restored } = await restoreBackup(() => openingOf(file, flags), certDir, say);
  const text = `restored ${restored.files} files of ${restored.createdAt} into ${certDir}\n${shown(keys)}`;
  return { json: { certDir, ...restored, ...keys }, text };
}

async function drill(file: string, flags: OpenFlags): Promise<CommandResult> {
  const { certDir, workDir } = flags;
  const { createdAt, keys } = await drillBackup(await openingOf(file, flags), { certDir, workDir }, say);
  const text = `the archive of ${createdAt} restores a KMS that derives the same keys\n${shown(keys)}`;
  return { json: { createdAt, comparedWith: certDir ?? null, ...keys }, text };
}

async function openingOf(file: string, { identity }: OpenFlags): Promise<Opening> {
  const identities = await readOwnersText(identity);
  return { identities, archive: await readInput(file, maxArchiveBytes) };
}

/** Whoever reads an identity reads every backup made to it. */
async function readOwnersText(path: string): Promise<string> {
  const text = await readInputText(path, maxTextBytes);
  const { mode } = await stat(path);
  if ((mode & othersMayAccess) === 0) return text;
  throw new KmsError("malformed.file", `${path}: more than its owner has access, need mode 0600: chmod 600 ${path}`);
}

/** A rehearsal should leave no trace of keys on a disk. */
function workDir(): string {
  return existsSync(memoryDir) ? memoryDir : tmpdir();
}

function shown(keys: object): string {
  return Object.entries(keys)
    .map(([name, value]) => `  ${name.padEnd(12)} ${value}`)
    .join("\n");
}

function say(words: string): void {
  processTerminal.err(`${words}\n`);
}

await runProgram(createProgram, "./run kms-backup --help");
