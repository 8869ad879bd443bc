/** Processes killed at every file operation of bootstrap, auto-bootstrap, onboarding and a start: no key is lost, nothing is left half. */
import { spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { toHex } from "../../kms/bytes.ts";
import { k256Pubkey } from "../../kms/keys/root-keys.ts";
import { createKeySet, inspectKeyStore, loadKeySet, recoverKeyStore } from "../../kms/keys/store.ts";
import { createBootstrap } from "../../kms/replication/bootstrap.ts";
import { oneAtATime } from "../../kms/replication/one-at-a-time.ts";
import { ask } from "../support/http-client.ts";
import { keyFiles, newKeySet } from "./support/key-sets.ts";
import { createReceiver, type Receiver, sourceTd } from "./support/receiver.ts";
import { publicKeys, type SourceKms, startSource } from "./support/source-kms.ts";

const driver = fileURLToPath(new URL("./support/crash-driver.ts", import.meta.url));
/** Two processes at a time, of which each takes every second operation. */
const lanes = 2;

/** Half of the operations, of either lane, are cut in the middle: a repetition must cut the same ones to leave the same. */
const isTornAt = (after: number): boolean => after % 4 < 2;

let node: Receiver;
let source: SourceKms;
let configFile: string;
beforeAll(async () => {
  node = await createReceiver();
  source = await startSource({ td: sourceTd });
  configFile = node.around.config();
});
afterAll(async () => {
  await source.close();
  await node.close();
});

interface Ending {
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly answer: string;
}

function runDriver(certDir: string, act: string, after: number, isTorn: boolean): Promise<Ending> {
  const args = [driver, configFile, certDir, act, String(after), isTorn ? "torn" : "", source.url];
  const env = {
    PATH: process.env["PATH"],
    DSTACK_AGENT_ADDRESS: `unix:${join(node.around.dir, "agent.sock")}`,
    NODE_COMPILE_CACHE: join(node.around.dir, "compiled"),
  };
  const child = spawn(process.execPath, args, { cwd: node.around.dir, env, stdio: ["ignore", "pipe", "inherit"] });
  let answer = "";
  child.stdout.on("data", (chunk: Buffer) => {
    answer += chunk.toString();
  });
  return new Promise((resolve) => child.once("close", (code, signal) => resolve({ signal, code, answer })));
}

/** Kills at every operation until a process comes through; whether that one, or any before it, was asked is for `look`. */
async function killEverywhere(
  act: string,
  prepare: (dir: string) => void,
  look: (dir: string, ending: Ending) => Promise<string>,
) {
  const states: string[] = [];
  let isDone = false;
  const lane = async (first: number) => {
    for (let after = first; !isDone; after += lanes) {
      const dir = join(node.around.dir, `${act}-${after}`);
      prepare(dir);
      const ending = await runDriver(dir, act, after, isTornAt(after));
      if (ending.code === 0) isDone = true;
      else expect(ending).toEqual({ signal: "SIGKILL", code: null, answer: "" });
      states[after] = await look(dir, ending);
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, first) => lane(first)));
  return states;
}

/** What recovery makes of the folder, seen in a copy: the write that was cut may have ended otherwise than in an earlier run. */
async function leftIn(dir: string): Promise<"empty" | "complete"> {
  const copy = `${dir}-copy`;
  cpSync(dir, copy, { recursive: true, preserveTimestamps: true });
  await recoverKeyStore(copy);
  return inspectKeyStore(copy);
}

/** The next process, as it is: it serves the keys or onboards, by what the crash left. */
async function startsAfter(act: string, points: readonly number[]): Promise<void> {
  for (const after of points) {
    const dir = join(node.around.dir, `${act}-again-${after}`);
    await runDriver(dir, act, after, isTornAt(after));
    const left = existsSync(dir) ? await leftIn(dir) : "empty";
    const config = join(node.around.dir, "again.toml");
    writeFileSync(config, readFileSync(configFile, "utf8").replace(node.around.certDir, dir));
    const kms = node.around.start(["-c", config]);
    if (left === "complete") {
      const { url } = await kms.line("listening", "main");
      const meta = await ask(String(url), "/prpc/GetMeta?json", {
        method: "POST",
        body: "{}",
        tls: { rejectUnauthorized: false },
      });
      expect(JSON.parse(meta.text).k256_pubkey).toBe(toHex(k256Pubkey((await loadKeySet(dir)).rootKeys)));
    } else {
      await kms.line("listening", "onboard");
    }
    kms.kill("SIGKILL");
    await kms.exit;
  }
}

test.each([
  ["bootstrap", ["bootstrap-info.json"], null],
  ["auto", ["bootstrap-info.json"], null],
  ["onboard", [], publicKeys],
] as const)(
  "%s killed at every operation leaves a KMS to serve or a folder to begin in",
  async (act, extra, registered) => {
    node.description = { kmsInfo: registered };
    const look = async (dir: string, { answer }: Ending) => {
      await recoverKeyStore(dir);
      if ((await inspectKeyStore(dir)) === "empty") {
        expect(answer).toBe("");
        expect(existsSync(dir) ? readdirSync(dir) : []).toEqual([]);
        return "none";
      }
      const stored = await loadKeySet(dir);
      expect(stored.warnings).toEqual([]);
      expect(readdirSync(dir).sort()).toEqual([...keyFiles, "rpc-domain", ...extra].sort());
      const root = new X509Certificate(stored.rootCaCertPem);
      expect(new X509Certificate(stored.rpcCertPem).verify(root.publicKey)).toBe(true);
      const key = toHex(k256Pubkey(stored.rootKeys));
      if (answer !== "") expect(key).toBe(answer); // what the owner registers
      if (registered !== null) expect(key).toBe(registered.k256Pubkey);
      return "whole";
    };
    const states = await killEverywhere(act, () => undefined, look);
    expect(states.length).toBeGreaterThan(35);
    // one turning point, give or take the operation that was under way when a process died
    expect(states.lastIndexOf("none") - states.indexOf("whole")).toBeLessThanOrEqual(1);
    expect(states.indexOf("whole")).toBeGreaterThan(20);

    await startsAfter(act, [0, 12, states.indexOf("whole") - 1, states.indexOf("whole"), states.length - 2]);

    // and begins again where there is none
    const dir = join(node.around.dir, `${act}-0`);
    node.description = { kmsInfo: null };
    const warn = () => undefined;
    await createBootstrap({ ...node.services, ...node.services.settings, certDir: dir, alone: oneAtATime(), warn }).auto(
      "localhost",
    );
    expect(await inspectKeyStore(dir)).toBe("complete");
  },
  300_000,
);

test("a start killed at every operation keeps every key, and a certificate is the old or the new one", async () => {
  const made = join(node.around.dir, "made");
  mkdirSync(made);
  const keySet = await newKeySet(new Date());
  await createKeySet(made, keySet, "localhost", {});
  const renewed: number[] = [];
  const look = async (dir: string) => {
    await recoverKeyStore(dir);
    const stored = await loadKeySet(dir);
    expect([stored.rootKeys.caScalar, stored.rootKeys.k256Key]).toEqual([keySet.rootKeys.caScalar, keySet.rootKeys.k256Key]);
    expect(stored.rpcKeyPem).toEqual(keySet.rpcKeyPem);
    expect(stored.tempCaKeyPem).toBe(keySet.tempCaKeyPem);
    expect(readdirSync(dir).sort()).toEqual([...keyFiles, "rpc-domain", "bootstrap-info.json"].sort());
    expect(new X509Certificate(stored.rpcCertPem).verify(new X509Certificate(stored.rootCaCertPem).publicKey)).toBe(true);
    const names = ["rootCaCertPem", "tempCaCertPem", "rpcCertPem"] as const;
    renewed.push(names.filter((name) => stored[name] !== keySet[name]).length);
    return "whole";
  };
  await killEverywhere("start", (dir) => cpSync(made, dir, { recursive: true, preserveTimestamps: true }), look);
  expect([...new Set(renewed)].sort()).toEqual([0, 1, 2, 3]);
}, 300_000);
