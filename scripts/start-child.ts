/** One child process of the local stack: its log, its last words, its end. */
import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { KmsError } from "../kms/errors.ts";

export interface ChildSpec {
  readonly name: string;
  /** After `node`: options, file, arguments. */
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  /** How it ended: `exit code 3`, `signal SIGKILL`, or why it did not start. */
  readonly end: Promise<string>;
  /** Its last lines, for an error message. */
  readonly lastWords: () => string;
}

const keptLines = 4;
const projectRoot = join(import.meta.dirname, "..");

export interface ChildFolders {
  readonly logDir: string;
  /** Libraries leave caches in it; it goes with the run. */
  readonly temporary: string;
}

export function spawnChild(spec: ChildSpec, folders: ChildFolders, onLine: (line: string) => void): Child {
  const child = spawn(process.execPath, [...spec.args], {
    cwd: projectRoot,
    env: { ...process.env, TMPDIR: folders.temporary, ...spec.env },
    stdio: ["pipe", "pipe", "pipe"],
    detached: true, // Ctrl-C reaches us alone, and we stop the others in order
  });
  child.stdin.on("error", () => {}); // the pipe tells the child that we live, nothing more
  const kept: string[] = [];
  const file = join(folders.logDir, `${spec.name.replaceAll(" ", "-")}.log`);
  const keep = (line: string) => {
    appendFileSync(file, `${line}\n`, { mode: 0o600 });
    if (line.trim() !== "") kept.push(line);
    if (kept.length > keptLines) kept.shift();
  };
  createInterface({ input: child.stderr }).on("line", keep);
  createInterface({ input: child.stdout }).on("line", (line) => {
    keep(line);
    onLine(line);
  });
  const end = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`));
  });
  const lastWords = () => (kept.length === 0 ? "" : `; its last words: ${kept.join(" | ")}`);
  return { name: spec.name, process: child, end, lastWords };
}

export async function withDeadline<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new KmsError("unavailable.component", `${what} after ${ms / 1000} s`)), ms);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
