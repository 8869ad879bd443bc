/** The webhook as a process: settings, start, end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const main = fileURLToPath(new URL("../../auth-eth/main.ts", import.meta.url));
const contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const good = { ETH_RPC_URL: "http://user:s3cret@127.0.0.1:1/s3cret?k=s3cret", KMS_CONTRACT_ADDR: contract, PORT: "0" };

function start(env: Record<string, string>) {
  const child = spawn(process.execPath, [main], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<unknown> => JSON.parse((await lines.next()).value ?? "null");
  /** The line with that message, and whether any line up to it tells a secret. */
  const lineOf = async (msg: string): Promise<{ url: string; boundary?: string }> => {
    for (;;) {
      const line = (await nextLine()) as { msg: string; url: string } | null;
      expect(JSON.stringify(line)).not.toContain("s3cret");
      if (line === null || line.msg === msg) return line ?? { url: "" };
    }
  };
  return { child, nextLine, lineOf };
}

test("says where it listens, answers without a chain, and ends on SIGTERM", async () => {
  const { child, lineOf } = start(good);
  expect(await lineOf("not ready yet")).toMatchObject({ boundary: "rpc-network" });
  const line = await lineOf("listening");
  expect(line.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
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
  const first = start(good);
  const { url } = await first.lineOf("listening");
  const second = start({ ...good, PORT: new URL(url).port });
  expect(await once(second.child, "exit")).toEqual([1, null]);
  first.child.kill("SIGTERM");
  await once(first.child, "exit");
});
