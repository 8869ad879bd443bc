/** Runs `scripts/start.ts` as a person would, watches its output, and knows its processes. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const root = join(import.meta.dirname, "../..");
const pollMs = 50;

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class StartedStack {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  /** The run's own temporary folder: what is left in it was left behind. */
  readonly temporary: string;
  #stdout = "";
  #stderr = "";

  private constructor(temporary: string, flags: readonly string[]) {
    this.temporary = temporary;
    this.#child = spawn(process.execPath, [join(root, "scripts/start.ts"), ...flags], {
      cwd: root,
      env: { ...process.env, TMPDIR: temporary },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#closed = once(this.#child, "close");
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
  }

  static async start(...flags: readonly string[]): Promise<StartedStack> {
    return new StartedStack(await mkdtemp(join(tmpdir(), "e2e-")), flags);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Waits until the words or the document hold the text; a run that ends before is an error. */
  async saying(text: string): Promise<void> {
    while (!this.#stderr.includes(text) && !this.#stdout.includes(text)) {
      if (this.#child.exitCode !== null) throw new Error(`ended without saying ${text}: ${this.#stderr}`);
      await sleep(pollMs);
    }
  }

  document(): unknown {
    return JSON.parse(this.#stdout);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async ended(): Promise<Ended> {
    await this.#closed;
    return { status: this.#child.exitCode, stdout: this.#stdout, stderr: this.#stderr };
  }

  /** The processes that the run has started and that still live. */
  async components(): Promise<{ pid: number; command: string }[]> {
    const pids = (await readFile(`/proc/${this.pid}/task/${this.pid}/children`, "utf8")).trim().split(/\s+/).map(Number);
    const found = await Promise.all(pids.map(async (pid) => ({ pid, command: await commandOf(pid) })));
    return found.filter(({ command }) => command !== "");
  }

  /** Ends the run if it still lives, and removes its folder. */
  async dispose(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGTERM");
    await this.#closed;
    await rm(this.temporary, { recursive: true, force: true });
  }

  async leftovers(): Promise<string[]> {
    return readdir(this.temporary);
  }
}

async function commandOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return text.replaceAll("\0", " ").trim();
}

/** Which of these processes live; a process id that was given to another program does not count. */
export async function alive(processes: readonly { pid: number; command: string }[]): Promise<string[]> {
  const now = await Promise.all(processes.map(async ({ pid, command }) => ((await commandOf(pid)) === command ? command : "")));
  return now.filter((command) => command !== "");
}
