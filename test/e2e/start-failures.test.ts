/** `./run start` when something goes wrong: a clear message, the right exit code, and nothing left running. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { alive, StartedStack } from "./started-stack.ts";

const runTimeoutMs = 180_000;
const goneWithinMs = 8_000;
const failureSchema = z.strictObject({ ok: z.literal(false), step: z.int(), code: z.string(), message: z.string() });

let run: StartedStack | undefined;
afterEach(async () => {
  await run?.dispose();
  run = undefined;
});

async function startUntil(text: string): Promise<StartedStack> {
  run = await StartedStack.start("--json");
  await run.saying(text);
  return run;
}

const kills: [name: string, file: string, after: string][] = [
  ["chain", "chain-main.ts", "✔  2"],
  ["platform", "platform-main.ts", "✔  4"],
  ["kms guest agent", "guest-main.ts", "✔  4"],
  ["auth-eth", "auth-eth/main.ts", "✔  5"],
  ["kms", "kms/main.ts", "✔  6"],
];
test.each(kills)(
  "names the %s when it is killed during start, and stops all",
  async (name, file, after) => {
    const stack = await startUntil(after);
    const components = await stack.components();
    const victim = components.find(({ command }) => command.includes(file));
    process.kill(victim?.pid ?? 0, "SIGKILL");
    const { status, stdout, stderr } = await stack.ended();
    expect(status).toBe(5);
    const failure = failureSchema.parse(JSON.parse(stdout));
    expect(failure).toMatchObject({ code: "unavailable.component" });
    expect(failure.message).toContain(`${name} ended unexpectedly (signal SIGKILL)`);
    expect(stderr).toContain(failure.message);
    expect(await alive(components)).toEqual([]);
    expect(await stack.leftovers()).toEqual([]);
  },
  runTimeoutMs,
);

test(
  "ends when a component dies while the stack is up, and says so on stderr alone",
  async () => {
    const stack = await startUntil("Ctrl-C");
    const components = await stack.components();
    const victim = components.find(({ command }) => command.includes("--app-id"));
    process.kill(victim?.pid ?? 0, "SIGKILL");
    const { status, stdout, stderr } = await stack.ended();
    expect(status).toBe(5);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true });
    expect(stderr).toContain("app guest agent ended unexpectedly (signal SIGKILL)");
    expect(await alive(components)).toEqual([]);
    expect(await stack.leftovers()).toEqual([]);
  },
  runTimeoutMs,
);

test.each([
  ["SIGTERM", 143],
  ["SIGINT", 130],
  ["SIGHUP", 129],
] as const)(
  "stops everything on %s during start and exits with %i",
  async (signal, expected) => {
    const stack = await startUntil("✔  3");
    const components = await stack.components();
    stack.signal(signal);
    const { status, stdout } = await stack.ended();
    expect(status).toBe(expected);
    expect(failureSchema.parse(JSON.parse(stdout)).message).toBe(`stopped by ${signal}`);
    expect(await alive(components)).toEqual([]);
    expect(await stack.leftovers()).toEqual([]);
  },
  runTimeoutMs,
);

test(
  "stops everything on SIGTERM while the stack is up and exits with 143",
  async () => {
    const stack = await startUntil("Ctrl-C");
    const components = await stack.components();
    stack.signal("SIGTERM");
    const { status, stderr } = await stack.ended();
    expect(status).toBe(143);
    expect(stderr).toContain("stopped by SIGTERM");
    expect(await alive(components)).toEqual([]);
    expect(await stack.leftovers()).toEqual([]);
  },
  runTimeoutMs,
);

test(
  "leaves no process even when it is killed outright",
  async () => {
    const stack = await startUntil("✔  5");
    const components = await stack.components();
    expect(components.length).toBeGreaterThanOrEqual(5);
    stack.signal("SIGKILL");
    await stack.ended();
    for (let waited = 0; waited < goneWithinMs && (await alive(components)).length > 0; waited += 100) await sleep(100);
    expect(await alive(components)).toEqual([]);
  },
  runTimeoutMs,
);

test(
  "fails at step 1 when the chain's port is taken",
  async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    run = await StartedStack.start("--once", "--json", "--port-base", `${port}`);
    const { status, stdout } = await run.ended();
    server.close();
    expect(status).toBe(5);
    expect(failureSchema.parse(JSON.parse(stdout))).toMatchObject({ step: 1, code: "unavailable.component" });
  },
  runTimeoutMs,
);

test.each([
  ["an unknown flag", ["--onec"]],
  ["a word that is no flag", ["now"]],
  ["a port base that is no number", ["--port-base", "http"]],
  ["a port base without room for four ports", ["--port-base", "65533"]],
  ["an empty state folder name", ["--state-dir", ""]],
])("refuses %s with exit 2", async (_, flags) => {
  run = await StartedStack.start("--json", ...flags);
  const { status, stdout, stderr } = await run.ended();
  expect(status).toBe(2);
  expect(failureSchema.parse(JSON.parse(stdout))).toMatchObject({ step: 0, code: "malformed.usage" });
  expect(stderr).toContain("usage: ./run start");
});

test("does not touch a folder with other files in it", async () => {
  const dir = await mkdtemp(join(tmpdir(), "e2e-other-"));
  await writeFile(join(dir, "precious"), "");
  run = await StartedStack.start("--once", "--json", "--state-dir", dir);
  const { status, stdout } = await run.ended();
  await rm(join(dir, "precious")); // throws where it is gone
  await rm(dir, { recursive: true });
  expect(status).toBe(2);
  expect(failureSchema.parse(JSON.parse(stdout)).code).toBe("malformed.usage");
});
