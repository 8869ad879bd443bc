/** The command `kms-backup`: names its options; archive, restore and drill do the work. */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, resolve } from "node:path";
import { Command } from "commander";
// biome-ignore lint/style/noRestrictedImports: a command for operators, on the terminal rules of all commands
import { type CommandResult, processTerminal } from "../scripts/lib/cli.ts";
// biome-ignore lint/style/noRestrictedImports: as above
import { readInput, readInputText } from "../scripts/lib/input-file.ts";
// biome-ignore lint/style/noRestrictedImports: as above
import { runProgram, type Work, withHints } from "../scripts/lib/program.ts";
import { parseIdentities, parseRecipients } from "./backup/age.ts";
import { type Archive, maxArchiveBytes, openArchive, sealArchive } from "./backup/archive.ts";
import { drillRestore, needSame, proveFolder } from "./backup/drill.ts";
import { readKeyFiles, wipeFiles } from "./backup/key-files.ts";
import { needEmpty, restoreFiles } from "./backup/restore.ts";
import { type Code, KmsError } from "./errors.ts";
import { inspectKeyStore } from "./keys/store.ts";
import { systemDisk } from "./keys/store-disk.ts";
import { exists, replaceFile, secretFile } from "./keys/store-files.ts";

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
  if (await exists(dirname(out), basename(out))) throw new KmsError("malformed.usage", `${out}: exists, name a new file`);
  if ((await inspectKeyStore(flags.certDir)) === "empty") {
    throw new KmsError("malformed.usage", `certificate folder ${flags.certDir}: holds no keys`);
  }
  const files = await readKeyFiles(flags.certDir);
  try {
    say(`${files.length} files read, checking that they belong together`);
    const { bytes, createdAt, keys } = await sealArchive(files, recipients, new Date());
    await replaceFile(dirname(out), secretFile(basename(out), bytes), systemDisk);
    const count = new Set(recipients).size;
    const json = { archive: out, bytes: bytes.length, recipients: count, createdAt, ...keys };
    return { json, text: `backed up to ${out}, ${bytes.length} bytes for ${count} recipients\n${shown(keys)}` };
  } finally {
    wipeFiles(files);
  }
}

async function restore(file: string, flags: OpenFlags, certDir: string): Promise<CommandResult> {
  const dir = resolve(certDir);
  await needEmpty(dir);
  return withArchive(file, flags.identity, async (archive) => {
    say("archive opened and checked, writing");
    await restoreFiles(dir, archive.files);
    needSame(await proveFolder(dir), archive.keys, "restored folder", "archive");
    const json = { certDir: dir, files: archive.files.length, createdAt: archive.createdAt, ...archive.keys };
    return { json, text: `restored ${archive.files.length} files of ${archive.createdAt} into ${dir}\n${shown(archive.keys)}` };
  });
}

async function drill(file: string, flags: OpenFlags): Promise<CommandResult> {
  return withArchive(file, flags.identity, async (archive) => {
    say("archive opened and checked, restoring into a temporary folder");
    const keys = await drillRestore(archive, flags.workDir);
    if (flags.certDir !== undefined) {
      say(`comparing with ${flags.certDir}`);
      needSame(keys, await proveFolder(flags.certDir), "archive", flags.certDir);
    }
    const json = { createdAt: archive.createdAt, comparedWith: flags.certDir ?? null, ...keys };
    return { json, text: `the archive of ${archive.createdAt} restores a KMS that derives the same keys\n${shown(keys)}` };
  });
}

async function withArchive(file: string, identityFile: string, use: (archive: Archive) => Promise<CommandResult>) {
  const identities = parseIdentities(await readOwnersText(identityFile));
  const archive = await openArchive(await readInput(file, maxArchiveBytes), identities);
  try {
    return await use(archive);
  } finally {
    wipeFiles(archive.files);
  }
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
