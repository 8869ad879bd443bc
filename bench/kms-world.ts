/** A KMS with keys as an operator starts it, on a simulated platform, beside its floor; and as many client certificates as a run needs. */
import "reflect-metadata";
import { spawn } from "node:child_process";
import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fetchTempCa } from "../kms/ra-tls/client.ts";
import { makeRaTlsIdentity } from "../kms/ra-tls/identity.ts";
import { nodeArguments } from "../scripts/lib/package-scripts.ts";
import { type Surroundings, surround } from "../test/kms/support/kms-process.ts";
import { simulatedTd } from "../test/support/simulated-td.ts";
import { type Call, type CallName, callsOf } from "./kms-calls.ts";
import { ended, type Running, startChild } from "./processes.ts";

const startMs = 30_000;
const lookMs = 2;

export interface WorldSettings {
  /** Client certificates to make. */
  readonly certificates: number;
  /** Starts to time before the one that is measured: one process at a time may use the keys. */
  readonly starts: number;
}

interface StartedKms extends Running {
  /** From the start of the process to the listener. */
  readonly readyMs: number;
}

export interface World {
  readonly calls: Record<CallName, Call>;
  readonly kms: Running;
  readonly floor: Running;
  /** Of the file for the load generator. */
  readonly identities: string;
  /** One a start. */
  readonly readyMs: readonly number[];
  close(): Promise<void>;
}

export async function startWorld({ certificates, starts }: WorldSettings): Promise<World> {
  const around = await surround();
  const started: Running[] = [];
  const close = async () => {
    for (const each of started.reverse()) await each.close();
    await around.close();
  };
  try {
    const webhook = await startChild("constant-webhook.ts");
    started.push(webhook);
    around.config('auto_bootstrap_domain = "localhost"\n');
    // read after kms.toml, and so wins
    await writeFile(join(around.dir, "kms.json"), JSON.stringify({ core: { auth_api: { webhook: { url: webhook.url } } } }));
    const bootstrapped = await startKms(around);
    await bootstrapped.close();
    const readyMs: number[] = [];
    for (let start = 0; start < starts; start++) {
      const timed = await startKms(around);
      readyMs.push(timed.readyMs);
      await timed.close();
    }
    const kms = await startKms(around);
    started.push(kms);
    const floor = await startChild("bare-tls.ts", around.certDir);
    started.push(floor);
    const app = simulatedTd({ instanceSeed: new Uint8Array(20).fill(3) });
    const identities = join(around.dir, "identities.json");
    await writeFile(identities, JSON.stringify(await makeIdentities(kms.url, app, certificates)));
    return { calls: callsOf(app), kms, floor, identities, readyMs, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function makeIdentities(url: string, app: ReturnType<typeof simulatedTd>, count: number) {
  const tempCa = await fetchTempCa(url.replace("127.0.0.1", "localhost"));
  const agent = { attest: async (data: Uint8Array) => app.attest(data) };
  const identities: { key: string; cert: string }[] = [];
  for (let made = 0; made < count; made++) {
    const { keyPem, certificatePem } = await makeRaTlsIdentity(agent, tempCa, new Date());
    identities.push({ key: Buffer.from(keyPem).toString(), cert: certificatePem });
  }
  return identities;
}

let logs = 0;

/** Its log goes to a file, as a service manager would have it. */
async function startKms(around: Surroundings): Promise<StartedKms> {
  const logFile = join(around.dir, `kms-${logs++}.log`);
  const log = await open(logFile, "w");
  const began = performance.now();
  const { flags, program } = nodeArguments("kms");
  const child = spawn(process.execPath, [...flags, program], {
    cwd: around.dir,
    env: { PATH: process.env["PATH"], DSTACK_AGENT_ADDRESS: `unix:${join(around.dir, "agent.sock")}` },
    stdio: ["ignore", log.fd, "inherit"],
  });
  const close = async () => {
    await ended(child);
    await log.close();
  };
  while (performance.now() - began < startMs && child.exitCode === null) {
    const url = /"url":"(https:[^"]+)","mode":"main"/.exec(await readFile(logFile, "utf8"))?.[1];
    if (url !== undefined) return { url, pid: child.pid ?? 0, readyMs: performance.now() - began, close };
    await sleep(lookMs);
  }
  const words = await readFile(logFile, "utf8");
  await close();
  throw new Error(`the KMS did not start: ${words}`);
}
