/** Packages of Debian for tests and trials: downloaded with apt-get, unpacked with dpkg-deb into a cache, installed nowhere. No root needed. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { type CommandResult, hinted, runCommand } from "../lib/cli.ts";

const run = promisify(execFile);
const APT_TIMEOUT_MS = 180_000;
const cacheRoot = process.env["XDG_CACHE_HOME"] || fileURLToPath(new URL("../../node_modules/.cache", import.meta.url));

/** Where the made files of this name are, or would be. */
export function cacheFolder(name: string): string {
  return join(cacheRoot, "keyward", name);
}

/** Fills a folder of the cache whole or not at all. */
export async function fillCache(name: string, fill: (scratch: string, target: string) => Promise<void>): Promise<void> {
  const folder = cacheFolder(name);
  await mkdir(join(folder, ".."), { recursive: true });
  const scratch = await mkdtemp(`${folder}-`);
  try {
    const target = join(scratch, "new");
    await mkdir(target);
    await fill(scratch, target);
    await rm(folder, { recursive: true, force: true });
    await rename(target, folder);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

export async function unpackPackage(name: string, scratch: string, target: string): Promise<void> {
  process.stderr.write(`downloading ${name}\n`);
  await apt("apt-get", ["download", name], scratch);
  const file = (await readdir(scratch)).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith(".deb"));
  if (file === undefined) throw unavailable(`apt-get left no file of ${name}`);
  await run("dpkg-deb", ["-x", join(scratch, file), target]);
}

/** First with the system's package lists; where it has none, with lists of our own, which need no root. */
export async function apt(program: string, args: readonly string[], cwd: string): Promise<{ stdout: string }> {
  const options = { cwd, timeout: APT_TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 };
  const lists = join(cwd, "lists");
  // what is installed here may be of a source that is not: only what can be downloaded counts
  const any = ["-o", "Dir::State::status=/dev/null"];
  const own = [...any, "-o", `Dir::State::lists=${lists}`, "-o", `Dir::Cache=${join(cwd, "apt")}`];
  try {
    return await run(program, [...(existsSync(lists) ? own : any), ...args], options);
  } catch (cause) {
    if (existsSync(lists)) throw unavailable(`${program} ${args.join(" ")} failed`, cause);
  }
  await mkdir(join(lists, "partial"), { recursive: true });
  await mkdir(join(cwd, "apt", "archives", "partial"), { recursive: true });
  try {
    await run("apt-get", [...own, "update"], options);
    return await run(program, [...own, ...args], options);
  } catch (cause) {
    throw unavailable(`${program} ${args.join(" ")} failed`, cause);
  }
}

export function unavailable(what: string, cause?: unknown): Error {
  const hint = "this needs Debian's or Ubuntu's apt-get and dpkg-deb, and the network; tests without these files do without";
  return hinted("unavailable.component", what, hint, { cause });
}

/** The process of a script that finds or fetches such files: `--json`, `--help`, and a result like that of every command. */
export async function runFetchCommand(usage: string, work: () => Promise<CommandResult>): Promise<void> {
  const options = { json: { type: "boolean", default: false }, help: { type: "boolean", short: "h", default: false } } as const;
  const { values } = parseArgs({ options });
  if (values.help) process.stdout.write(usage);
  else await runCommand(values, work);
}
