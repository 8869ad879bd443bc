/** Processes killed at every operation on a collateral folder: each part is the old or the new one, and the folder is free for the next. */
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeBundle } from "../../kms/attestation/tdx/collateral-bundle.ts";
import { collateralFolder, type StoredCollateral } from "../../kms/attestation/tdx/collateral-disk.ts";
import { importBundle, judgeFolder } from "../../kms/attestation/tdx/collateral-import.ts";
import { withLock } from "../../kms/attestation/tdx/collateral-lock.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { simulatedPlatform } from "../support/simulated-td.ts";
import { anchor, platform, start } from "./support/collateral-world.ts";

const driver = fileURLToPath(new URL("./support/collateral-crash-driver.ts", import.meta.url));
const base = mkdtempSync(join(tmpdir(), "collateral-crash-"));
const root = join(base, "root.der");
const newBundle = join(base, "new.json");
/** Issue 20 of each part. */
const filled = join(base, "filled");
const jsonOf = (evaluationNumber: number, crlNumber: number) =>
  collateralJson(simulatedPlatform({ evaluationNumber, crlNumber }).collateral(start));
const importInto = (dir: string, json: string) =>
  importBundle(decodeBundle(json), { folder: collateralFolder(dir, anchor), anchor, now: start });

type State = "nothing" | "part" | "old" | "new";
let digests: Readonly<Record<"old" | "new", ReadonlyMap<string, string>>>;

beforeAll(async () => {
  writeFileSync(root, platform.rootDer);
  writeFileSync(newBundle, jsonOf(30, 30));
  const renewed = join(base, "renewed");
  await importInto(filled, jsonOf(20, 9));
  cpSync(filled, renewed, { recursive: true });
  await importInto(renewed, jsonOf(30, 30));
  const digestsIn = async (dir: string) => (await collateralFolder(dir, anchor).read()).index.files;
  digests = { old: await digestsIn(filled), new: await digestsIn(renewed) };
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

function runDriver(dir: string, act: string, after: number, isTorn: boolean): Promise<NodeJS.Signals | number | null> {
  const args = [driver, dir, root, newBundle, act, start.toISOString(), String(after), isTorn ? "torn" : ""];
  const env = { PATH: process.env["PATH"], NODE_COMPILE_CACHE: join(base, "compiled") };
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "ignore", "inherit"] });
  return new Promise((resolve) => child.once("close", (code, signal) => resolve(signal ?? code)));
}

function stateOf({ items, index }: StoredCollateral): State {
  for (const [name, { digest }] of items) expect([digests.old.get(name), digests.new.get(name)]).toContain(digest);
  if (items.size === 0) return "nothing";
  if (items.size < digests.new.size) return "part";
  const is = (expected: ReadonlyMap<string, string>) => [...expected].every(([name, digest]) => index.files.get(name) === digest);
  return is(digests.new) ? "new" : is(digests.old) ? "old" : "part";
}

/** Kills at every operation, and once more with half of what it writes, until both processes come through. */
async function killEverywhere(act: string, prepare: (dir: string) => void): Promise<StoredCollateral[]> {
  const run = async (after: number, isTorn: boolean) => {
    const dir = join(base, `${act}-${after}-${isTorn}`);
    prepare(dir);
    const end = await runDriver(dir, act, after, isTorn);
    const stored = await collateralFolder(dir, anchor).read();
    for (const { problem } of judgeFolder(stored, anchor, start)) expect(problem).toBeUndefined();
    if (end === 0) return { stored, isDone: true };
    expect(end).toBe("SIGKILL");
    await expectUsable(dir);
    return { stored, isDone: false };
  };
  const found: StoredCollateral[] = [];
  for (let after = 0, isDone = false; !isDone; after += 1) {
    const both = await Promise.all([run(after, false), run(after, true)]);
    found.push(...both.map(({ stored }) => stored));
    isDone = both.every((each) => each.isDone);
  }
  return found;
}

/** By the next process: the lock is free at once, nothing is left over, and nothing older passes. */
async function expectUsable(dir: string): Promise<void> {
  const { path } = collateralFolder(dir, anchor);
  const lock = join(path, ".lock");
  if (existsSync(lock)) expect(await withLock(lock, async () => "free", 0)).toBe("free");
  await importInto(dir, jsonOf(30, 30));
  expect(stateOf(await collateralFolder(dir, anchor).read())).toBe("new");
  expect(readdirSync(path).sort()).toEqual([".lock", "index.json", "items"]);
  expect(readdirSync(join(path, "items"))).toHaveLength(4);
  await expect(importInto(dir, jsonOf(29, 29))).rejects.toMatchObject({ code: "unproven.collateral-older" });
}

describe("a process that is killed at any operation", () => {
  test("of a renewal leaves all that was there, or all that is new", async () => {
    const found = await killEverywhere("renew", (dir) => cpSync(filled, dir, { recursive: true }));
    const states = found.map(stateOf);
    expect(found.flatMap(({ problems }) => problems)).toEqual([]);
    const turn = states.indexOf("new");
    expect(turn).toBeGreaterThan(10);
    expect(states).toEqual(states.map((_, index) => (index < turn ? "old" : "new")));
    expect(found.length).toBeGreaterThan(turn + 6); // the old files go last
  }, 300_000);

  test("of the first write leaves whole parts only", async () => {
    const states = (await killEverywhere("fill", () => undefined)).map(stateOf);
    expect(states.at(0)).toBe("nothing");
    expect(states.at(-1)).toBe("new");
    expect(states).not.toContain("old");
  }, 300_000);

  test("of a reset leaves all, or nothing and no memory of how new it was", async () => {
    const found = await killEverywhere("reset", (dir) => cpSync(filled, dir, { recursive: true }));
    for (const stored of found) {
      const { generation, floors } = stored.index;
      expect([stateOf(stored), generation, floors.size]).toEqual(generation === 0 ? ["old", 0, 4] : ["nothing", 1, 0]);
    }
    expect(found.at(0)?.index.generation).toBe(0);
    expect(found.at(-1)?.index.generation).toBe(1);
  }, 300_000);
});
