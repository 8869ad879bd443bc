/** The webhook as a process: settings, start, end. */
import { once } from "node:events";
import { expect, test } from "vitest";
import { contract, startProcess } from "./support/process.ts";

const good = { ETH_RPC_URL: "http://user:s3cret@127.0.0.1:1/s3cret?k=s3cret", KMS_CONTRACT_ADDR: contract, PORT: "0" };

test("says where it listens, answers without a chain, and ends on SIGTERM", async () => {
  const { child, lineOf } = startProcess(good);
  expect(await lineOf("not ready yet")).toMatchObject({ boundary: "rpc-network" });
  const line = await lineOf("listening");
  expect(line.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  expect(await (await fetch(`${line.url}/health`)).json()).toEqual({ status: "ok" });
  expect((await fetch(line.url)).status).toBe(500);
  const metrics = await (await fetch(`${line.url}/metrics`)).text();
  expect(metrics).toMatch(/^auth_eth_rpc_seconds_count\{endpoint="127\.0\.0\.1:1",outcome="rpc-network"\} [1-9]/m);
  expect(metrics).not.toContain("s3cret");
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
});

test("lists every problem and exits 2", async () => {
  const { child, nextLine } = startProcess({ PORT: "70000", ETH_CHAIN_ID: "0x1", ETH_FINALITY_CONFIRMATIONS: "-1" });
  const [[status], line] = await Promise.all([once(child, "exit"), nextLine()]);
  expect(status).toBe(2);
  expect(line).toMatchObject({ code: "malformed.config", problems: { length: 5 } });
});

test("exits 1 when the port is taken", async () => {
  const first = startProcess(good);
  const { url } = await first.lineOf("listening");
  const second = startProcess({ ...good, PORT: new URL(url).port });
  expect(await once(second.child, "exit")).toEqual([1, null]);
  first.child.kill("SIGTERM");
  await once(first.child, "exit");
});
