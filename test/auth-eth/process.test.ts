/** The webhook as a process: settings, start, end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type ConfigError, loadConfig } from "../../auth-eth/config.ts";

const main = fileURLToPath(new URL("../../auth-eth/main.ts", import.meta.url));
const contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const good = { ETH_RPC_URL: "https://user:key@rpc.example:8443/v1?k=1", KMS_CONTRACT_ADDR: contract };

function start(env: Record<string, string>) {
  const child = spawn(process.execPath, [main], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<unknown> => JSON.parse((await lines.next()).value ?? "null");
  return { child, nextLine };
}

test("says where it listens, answers without a chain, and ends on SIGTERM", async () => {
  const { child, nextLine } = start({ ...good, PORT: "0", ETH_RPC_URL: "http://127.0.0.1:1" });
  const line = (await nextLine()) as { msg: string; url: string };
  expect(line).toMatchObject({ msg: "listening", url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) });
  expect(await (await fetch(`${line.url}/health`)).json()).toEqual({ status: "ok" });
  expect((await fetch(line.url)).status).toBe(500);
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
});

test("lists every problem and exits 2", async () => {
  const { child, nextLine } = start({ PORT: "70000", ETH_CHAIN_ID: "0x1", ETH_FINALITY_CONFIRMATIONS: "-1" });
  const [[status], line] = await Promise.all([once(child, "exit"), nextLine()]);
  expect(status).toBe(2);
  expect(line).toMatchObject({ code: "malformed.config", problems: { length: 5 } });
});

test("exits 1 when the port is taken", async () => {
  const first = start({ ...good, PORT: "0" });
  const { url } = (await first.nextLine()) as { url: string };
  const second = start({ ...good, PORT: new URL(url).port });
  expect(await once(second.child, "exit")).toEqual([1, null]);
  first.child.kill("SIGTERM");
  await once(first.child, "exit");
});

test("has the documented defaults", () => {
  const settings = { host: "127.0.0.1", port: 8000, chainId: undefined, confirmations: 0, rpcOrigin: "https://rpc.example:8443" };
  expect(loadConfig(good)).toMatchObject({ blockTag: "latest", maxHeadAgeSeconds: 120 });
  expect(loadConfig({ ...good, ETH_BLOCK_TAG: "finalized" })).toMatchObject({ blockTag: "finalized", maxHeadAgeSeconds: 1800 });
  expect(loadConfig(good)).toMatchObject({ ...settings, kmsContractAddr: contract, kmsContract: contract.toLowerCase() });
});

test.each([
  ["ETH_RPC_URL", "localhost:8545", "ETH_RPC_URL must be an http or https URL"],
  ["ETH_RPC_URL", "", "ETH_RPC_URL is not set: name the RPC endpoint of the chain"],
  ["KMS_CONTRACT_ADDR", contract.slice(0, 41), "KMS_CONTRACT_ADDR must be 0x and 40 hex digits"],
  ["KMS_CONTRACT_ADDR", `0x${"0".repeat(40)}`, "KMS_CONTRACT_ADDR must not be the zero address"],
  ["KMS_CONTRACT_ADDR", contract.replace("F", "f"), "KMS_CONTRACT_ADDR has a wrong checksum: is there a typo?"],
  ["PORT", "80a", "PORT must be a non-negative integer"],
  ["ETH_CHAIN_ID", "9007199254740993", "ETH_CHAIN_ID exceeds the safe integer range"],
  ["ETH_BLOCK_TAG", "pending", "ETH_BLOCK_TAG must be latest, safe or finalized"],
  ["ETH_MAX_HEAD_AGE_SECONDS", "-1", "ETH_MAX_HEAD_AGE_SECONDS must be a non-negative integer"],
  ["ETH_FINALITY_CONFIRMATIONS", "1.5", "ETH_FINALITY_CONFIRMATIONS must be a non-negative integer"],
])("refuses %s=%s", (name, value, problem) => {
  expect(() => loadConfig({ ...good, [name]: value })).toThrow(expect.objectContaining({ problems: [problem] }) as ConfigError);
});
