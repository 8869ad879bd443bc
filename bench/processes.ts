/** The processes of a bench: each contender, stub and load generator has an event loop of its own. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { nodeArguments } from "../scripts/lib/package-scripts.ts";
import { contract } from "./auth-question.ts";
import type { LoadOrder, LoadResult } from "./children/load.ts";

const root = join(import.meta.dirname, "..");
const startMs = 20_000;
export interface Running {
  readonly url: string;
  readonly pid: number;
  close(): Promise<void>;
}

export async function startChild(file: string, ...args: string[]): Promise<Running & { readonly process: ChildProcess }> {
  const child = fork(join(import.meta.dirname, "children", file), args, {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const [{ url }] = (await once(child, "message", { signal: AbortSignal.timeout(startMs) })) as [{ url: string }];
  return { url, pid: child.pid ?? 0, process: child, close: () => ended(child) };
}

/** The webhook as an operator starts it; its log goes to a file, as a service manager would have it. */
export async function startWebhook(
  rpcUrl: string,
  options: { contract?: string; nodeArgs?: readonly string[]; env?: Readonly<Record<string, string>> } = {},
): Promise<Running> {
  const folder = await mkdtemp(join(tmpdir(), "bench-auth-"));
  const log = await open(join(folder, "log"), "w");
  const env = {
    PATH: process.env["PATH"],
    HOST: "127.0.0.1",
    PORT: "0",
    ETH_RPC_URL: rpcUrl,
    KMS_CONTRACT_ADDR: options.contract ?? contract,
    ...options.env,
  };
  const { flags, program } = nodeArguments("auth-eth");
  const child = spawn(process.execPath, [...flags, ...(options.nodeArgs ?? []), program], {
    cwd: folder, // no .env of somebody's
    env,
    stdio: ["ignore", log.fd, "inherit"],
  });
  const close = async () => {
    await ended(child);
    await log.close();
    await rm(folder, { recursive: true });
  };
  for (let waited = 0; waited < startMs; waited += 50) {
    const url = /"url":"([^"]+)","msg":"listening"/.exec(await readFile(join(folder, "log"), "utf8"))?.[1];
    if (url !== undefined) return { url, pid: child.pid ?? 0, close };
    if (child.exitCode !== null) break;
    await sleep(50);
  }
  const words = await readFile(join(folder, "log"), "utf8");
  await close();
  throw new Error(`the webhook did not start: ${words}`);
}

export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

export interface LoadGenerator {
  run(order: LoadOrder): Promise<LoadResult>;
  close(): Promise<void>;
}

export async function startLoad(): Promise<LoadGenerator> {
  const { process: child, close } = await startChild("load.ts");
  return {
    async run(order) {
      child.send(order);
      const [result] = (await once(child, "message")) as [LoadResult];
      if (result.wrong > 0) throw new Error(`${result.wrong} of ${result.requests} answers of ${order.url} were wrong`);
      return result;
    },
    close,
  };
}

/** What the system counts as the process's own, in MiB; undefined where there is no /proc. */
export async function residentMiB(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) / 1024;
}

/** Of all threads since the start, as the scheduler counts it; undefined where there is no /proc. */
export async function cpuMicroseconds(pid: number): Promise<number | undefined> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => undefined);
  if (threads === undefined) return undefined;
  const read = async (thread: string) => readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8").catch(() => "0");
  const nanoseconds = (await Promise.all(threads.map(read))).map((line) => Number(line.split(" ")[0]));
  return nanoseconds.reduce((sum, value) => sum + value, 0) / 1000;
}
