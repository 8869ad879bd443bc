/** The root script `run`: what it starts, how it refuses, and that the command takes the place of the shell. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const root = new URL("../..", import.meta.url).pathname;
const run = (...args: string[]) => spawnSync("./run", args, { cwd: root, encoding: "utf8" });

test("without a name it lists the package scripts", () => {
  const result = run();
  expect(result.status).toBe(0);
  expect(result.stdout).toMatch(/^ {2}start +node scripts\/start\.ts$/m);
});

test("an unknown name is a usage error that lists the names", () => {
  const result = run("nothing-like-this");
  expect(result.status).toBe(2);
  expect(result.stdout).toBe("");
  expect(result.stderr).toContain("no package script is called 'nothing-like-this'");
});

test("arguments reach the command unchanged, and its exit code comes back", () => {
  const result = run("vitest", "--version");
  expect(result.status).toBe(0);
  expect(result.stdout).toMatch(/^vitest\/4\./);
  expect(run("evidence", "verify", "/no/such file").status).toBe(2);
});

test("the command replaces the shell, so that a signal to run ends it", async () => {
  const child = spawn("./run", ["auth-eth"], {
    cwd: root,
    env: {
      ...process.env,
      HOST: "127.0.0.1",
      PORT: "0",
      ETH_RPC_URL: "http://127.0.0.1:1",
      KMS_CONTRACT_ADDR: `0x${"11".repeat(20)}`,
    },
  });
  const exited = once(child, "exit");
  await once(child.stdout, "data");
  child.kill("SIGTERM");
  expect(await exited).toEqual([0, null]);
});

test("it takes the system's Node from 22.18 on, so no source says `using`, which only 24 reads", () => {
  const sources = globSync("{auth-eth,bench,kms,scripts,test}/**/*.ts", { cwd: root });
  expect(sources.length).toBeGreaterThan(500);
  expect(readFileSync(`${root}package.json`, "utf8")).toContain('"node": ">=22.18"');
  expect(sources.filter((path) => /\busing \w+ (?:=|of) /.test(readFileSync(`${root}${path}`, "utf8")))).toEqual([]);
});
