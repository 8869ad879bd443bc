/** Where one run of the stack keeps its files: a temporary folder, or the folder of `--state-dir`, used by one run at a time. */

import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { errorCode, KmsError } from "../kms/errors.ts";

export interface State {
  readonly dir: string;
  readonly isKept: boolean;
  /** Always removed at the end. */
  readonly temporary: string;
  readonly certDir: string;
  readonly logDir: string;
  readonly seedFile: string;
  readonly rootFile: string;
  readonly kmsConfigFile: string;
  readonly kmsComposeFile: string;
  readonly appComposeFile: string;
  readonly bootstrapInfoFile: string;
  /** Unix sockets must have short names, so they are in the temporary folder. */
  readonly kmsSocket: string;
  readonly appSocket: string;
  /** Removes what is not to stay. */
  readonly release: () => Promise<void>;
}

const markerName = "keyward-start.json";
const markerSchema = z.object({ pid: z.int().positive().nullable() });
/** What a run makes in its folder, and all that the next one removes from it. */
const ownEntries = ["certs", "image-cache", "logs", "ignition", "seed", "root-ca.pem", "kms.toml", "kms-compose.json"];
const ownResults = ["app-compose.json", "bootstrap-info.json", markerName];

export async function openState(requested: string | undefined): Promise<State> {
  const temporary = await mkdtemp(join(tmpdir(), "keyward-"));
  try {
    const dir = requested === undefined ? temporary : await claim(resolve(requested));
    const logDir = join(dir, "logs");
    await mkdir(logDir, { mode: 0o700 });
    return {
      dir,
      isKept: requested !== undefined,
      temporary,
      logDir,
      certDir: join(dir, "certs"),
      seedFile: join(dir, "seed"),
      rootFile: join(dir, "root-ca.pem"),
      kmsConfigFile: join(dir, "kms.toml"),
      kmsComposeFile: join(dir, "kms-compose.json"),
      appComposeFile: join(dir, "app-compose.json"),
      bootstrapInfoFile: join(dir, "bootstrap-info.json"),
      kmsSocket: join(temporary, "kms.sock"),
      appSocket: join(temporary, "app.sock"),
      release: async () => {
        await rm(temporary, { recursive: true, force: true });
        if (requested !== undefined) await writeMarker(dir, null);
      },
    };
  } catch (thrown) {
    await rm(temporary, { recursive: true, force: true });
    throw thrown;
  }
}

/** An empty folder, or one that an earlier run left: nobody else's files are touched. */
async function claim(dir: string): Promise<string> {
  try {
    await makeFolder(dir);
    const entries = await readdir(dir);
    if (entries.length > 0) await removeEarlierRun(dir, entries);
    await chmod(dir, 0o700); // key files come here
    await writeMarker(dir, process.pid, "wx"); // of two that come at once, one fails here
    return dir;
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw new KmsError("fault.start", `--state-dir ${dir}: ${cause instanceof Error ? cause.message : "not usable"}`, { cause });
  }
}

/** Node's recursive mkdir never returns where a folder exists and still cannot hold another, as in /proc. */
async function makeFolder(dir: string): Promise<void> {
  const made = await mkdir(dir, { mode: 0o700 }).catch((cause: NodeJS.ErrnoException) => cause);
  if (made === undefined || made.code === "EEXIST") return;
  if (made.code !== "ENOENT" || existsSync(dirname(dir))) throw made;
  await makeFolder(dirname(dir));
  await mkdir(dir, { mode: 0o700 });
}

async function removeEarlierRun(dir: string, entries: readonly string[]): Promise<void> {
  if (!entries.includes(markerName)) {
    throw new KmsError(
      "malformed.usage",
      `--state-dir ${dir}: need an empty folder or one of an earlier start, have other files`,
    );
  }
  const { pid } = await readMarker(dir);
  if (pid !== null && isAlive(pid)) {
    throw new KmsError("fault.start", `--state-dir ${dir}: process ${pid} uses it`);
  }
  for (const entry of [...ownEntries, ...ownResults]) await rm(join(dir, entry), { recursive: true, force: true });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (thrown) {
    return errorCode(thrown) === "EPERM";
  }
}

async function readMarker(dir: string): Promise<z.output<typeof markerSchema>> {
  try {
    return markerSchema.parse(JSON.parse(await readFile(join(dir, markerName), "utf8")));
  } catch (cause) {
    const remedy = "if no start uses the folder, empty it";
    throw new KmsError("malformed.file", `--state-dir ${dir}: ${markerName} is not one of ours: ${remedy}`, { cause });
  }
}

async function writeMarker(dir: string, pid: number | null, flag = "w"): Promise<void> {
  await writeFile(join(dir, markerName), `${JSON.stringify({ pid })}\n`, { flag });
}
