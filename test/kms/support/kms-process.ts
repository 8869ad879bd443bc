/** kms/main.ts as a real process on a simulated platform: PCCS, guest agents and webhook run in the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createGuestAgentServer } from "../../../scripts/devnet/guest-agent.ts";
import { createPccs } from "../../../scripts/devnet/pccs.ts";
import type { SimulatedTd } from "../../../scripts/devnet/td.ts";
import { simulatedPlatform, simulatedTd } from "../../support/simulated-td.ts";
import { type StubWebhook, startWebhook } from "./webhook.ts";

const mainFile = fileURLToPath(new URL("../../../kms/main.ts", import.meta.url));
const readyMs = 20_000;

type Line = Record<string, unknown>;

export interface KmsProcess {
  readonly lines: readonly Line[];
  readonly exit: Promise<number | null>;
  /** The first line with this message, and this mode where one is asked for. */
  line(message: string, mode?: string): Promise<Line>;
  kill(signal: NodeJS.Signals): void;
}

export interface Surroundings {
  readonly dir: string;
  readonly certDir: string;
  readonly kmsTd: SimulatedTd;
  readonly webhook: StubWebhook;
  /** Writes kms.toml: the surroundings, then `more` at its end. */
  config(more?: string): string;
  start(args?: readonly string[], env?: Record<string, string>): KmsProcess;
  close(): Promise<void>;
}

/** Nodes of one `appCompose` measure the same. */
export async function surround(appCompose = '{"name":"kms"}'): Promise<Surroundings> {
  const dir = mkdtempSync(join(tmpdir(), "kms-process-"));
  const platform = simulatedPlatform();
  const kmsTd = simulatedTd({ platform, appCompose });
  const agent = createGuestAgentServer(kmsTd, { appName: "kms", version: "0" });
  const pccs = createPccs(platform, () => new Date());
  const webhook = await startWebhook();
  const socket = join(dir, "agent.sock");
  await Promise.all([listenOn(agent, socket), listenOn(pccs, 0)]);
  const rootFile = join(dir, "root.pem");
  writeFileSync(rootFile, platform.rootPem);
  const certDir = join(dir, "certs");
  const processes = new Set<ChildProcess>();
  return {
    dir,
    certDir,
    kmsTd,
    webhook,
    config(more = "") {
      const file = join(dir, "kms.toml");
      const { port } = pccs.address() as AddressInfo;
      writeFileSync(
        file,
        `${baseConfig({ certDir, rootFile, pccsUrl: `http://127.0.0.1:${port}`, authUrl: webhook.url })}\n${more}`,
      );
      return file;
    },
    start(args = [], env = {}) {
      const child = spawn(process.execPath, [mainFile, ...args], {
        cwd: dir,
        env: { PATH: process.env["PATH"], DSTACK_AGENT_ADDRESS: `unix:${socket}`, ...env },
        stdio: ["ignore", "pipe", "inherit"],
      });
      processes.add(child);
      return observe(child);
    },
    async close() {
      for (const child of processes) child.kill("SIGKILL");
      await Promise.all([closed(agent), closed(pccs), webhook.close()]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function baseConfig(places: { certDir: string; rootFile: string; pccsUrl: string; authUrl: string }): string {
  return `
[rpc]
address = "127.0.0.1"
port = 0
[core]
cert_dir = "${places.certDir}"
site_name = "test site"
[core.attestation]
insecure_allow_external_trust_anchors = true
urls.pccs = "${places.pccsUrl}"
root_ca.tdx = "${places.rootFile}"
[core.auth_api.webhook]
url = "${places.authUrl}"
[core.onboard]
address = "127.0.0.1"
port = 0`;
}

function observe(child: ChildProcess): KmsProcess {
  const lines: Line[] = [];
  const waiting = new Set<() => void>();
  if (child.stdout === null) throw new Error("no stdout");
  createInterface({ input: child.stdout }).on("line", (text) => {
    lines.push(text.startsWith("{") ? JSON.parse(text) : { msg: text });
    for (const wake of waiting) wake();
  });
  const exit = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  return {
    lines,
    exit,
    kill: (signal) => void child.kill(signal),
    line(message, mode) {
      return new Promise((resolve, reject) => {
        const look = () => {
          const found = lines.find((line) => line["msg"] === message && (mode === undefined || line["mode"] === mode));
          if (found !== undefined) settle(() => resolve(found));
        };
        const settle = (end: () => void) => {
          clearTimeout(timer);
          waiting.delete(look);
          end();
        };
        const fail = () => settle(() => reject(new Error(`no line ${message}; log: ${JSON.stringify(lines)}`)));
        const timer = setTimeout(fail, readyMs);
        waiting.add(look);
        look();
        void exit.then(fail);
      });
    },
  };
}

function listenOn(server: Server, place: string | number): Promise<void> {
  return new Promise((resolve) => {
    if (typeof place === "string") server.listen(place, resolve);
    else server.listen(place, "127.0.0.1", resolve);
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
