/** A machine that loses its power in the middle of the store's work: what no sync made last may be gone, and still no half KMS is left. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createKeySet, inspectKeyStore, type KeySet, loadKeySet, recoverKeyStore } from "../../kms/keys/store.ts";
import { systemDisk } from "../../kms/keys/store-disk.ts";
import { crashDisk, volatileDisk } from "./support/crash-disk.ts";
import { keyFiles, newKeySet } from "./support/key-sets.ts";

const info = { ca_pubkey: "30", k256_pubkey: "02", attestation: "00" };
const nineFiles = [...keyFiles, "rpc-domain", "bootstrap-info.json"].sort();
const base = mkdtempSync(join(tmpdir(), "keyward-power-"));
afterAll(() => rmSync(base, { recursive: true }));
let keySet: KeySet;
beforeAll(async () => {
  keySet = await newKeySet();
});

/** Runs the work on a disk that ends after so many operations; whether it came to its end. */
async function interrupted(dir: string, after: number, torn: boolean, keeps: (index: number) => boolean): Promise<boolean> {
  const ended = Promise.withResolvers<"crashed">();
  const disk = volatileDisk(crashDisk({ after, torn, end: () => ended.resolve("crashed") }));
  const outcome = await Promise.race([createKeySet(dir, keySet, "kms.test", info, disk), ended.promise]);
  disk.fail(keeps);
  return outcome !== "crashed";
}

/** After a start: nothing at all, or the KMS that was to be. */
async function stateAfterStart(dir: string): Promise<"empty" | "complete"> {
  await recoverKeyStore(dir);
  const state = await inspectKeyStore(dir);
  if (state === "complete") {
    expect(readdirSync(dir).sort()).toEqual(nineFiles);
    const { rootKeys, domain, warnings } = await loadKeySet(dir);
    expect([rootKeys.caScalar, rootKeys.k256Key]).toEqual([keySet.rootKeys.caScalar, keySet.rootKeys.k256Key]);
    expect([domain, warnings]).toEqual(["kms.test", []]);
  } else {
    expect(existsSync(dir) ? readdirSync(dir) : []).toEqual([]);
  }
  return state;
}

const memories: readonly [string, (index: number) => boolean][] = [
  ["keeps everything", () => true],
  ["forgets every change of names that was not synced", () => false],
  ["forgets every second of them", (index) => index % 2 === 0],
  ["forgets the others", (index) => index % 2 === 1],
];

describe.each(memories)("a machine that %s", (_name, keeps) => {
  test.each([false, true])("at every operation leaves no KMS or a whole one (torn writes: %s)", async (torn) => {
    const states: string[] = [];
    for (let after = 0; ; after += 1) {
      const dir = join(base, `${Math.random()}`, "certs");
      const isDone = await interrupted(dir, after, torn, keeps);
      const state = await stateAfterStart(dir);
      states.push(state);
      if (isDone) {
        expect(state).toBe("complete"); // what was answered as stored is stored
        break;
      }
      if (state === "empty") await createKeySet(dir, keySet, "kms.test", info);
      await stateAfterStart(dir);
    }
    // one moment decides: before it nothing, after it everything
    expect(states.length).toBeGreaterThan(35);
    const decided = states.indexOf("complete");
    expect(states.slice(decided).every((state) => state === "complete")).toBe(true);
    expect(decided).toBeGreaterThan(20);
  });

  test("at every operation of the start that mends leaves it as good", async () => {
    const sealed = await operationsUntilSealed();
    for (const [before, expected] of [
      [sealed - 1, "empty"],
      [sealed, "complete"],
      [sealed + 4, "complete"],
    ] as const) {
      for (let after = 0, isDone = false; !isDone; after += 1) {
        const dir = join(base, `${Math.random()}`, "certs");
        await interrupted(dir, before, false, () => true);
        const ended = Promise.withResolvers<"crashed">();
        const disk = volatileDisk(crashDisk({ after, end: () => ended.resolve("crashed") }));
        isDone = (await Promise.race([recoverKeyStore(dir, disk), ended.promise])) !== "crashed";
        disk.fail(keeps);
        expect(await stateAfterStart(dir)).toBe(expected);
      }
    }
  });
});

/** With nothing forgotten, the first number of operations after which a start finds a KMS. */
async function operationsUntilSealed(): Promise<number> {
  for (let after = 0; ; after += 1) {
    const dir = join(base, `${Math.random()}`, "certs");
    await interrupted(dir, after, false, () => true);
    if ((await stateAfterStart(dir)) === "complete") return after;
  }
}

test("the model of the machine does forget: without the syncs a KMS is lost or torn", async () => {
  const dir = join(base, "unsynced", "certs");
  const disk = volatileDisk({ ...systemDisk, sync: async () => undefined });
  const deaf = { ...disk, sync: async () => undefined };
  await createKeySet(dir, keySet, "kms.test", info, deaf);
  disk.fail(() => false);
  expect(existsSync(dir)).toBe(false);
});
