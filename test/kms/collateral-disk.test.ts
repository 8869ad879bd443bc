/** The collateral folder: what is in it is never trusted for being there, and no end of a process or a disk leaves it torn. */
import { chmodSync, readdirSync, readFileSync, statSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type CollateralDisk, collateralFolder, systemCollateralDisk } from "../../kms/attestation/tdx/collateral-disk.ts";
import { decodeIndex, encodeIndex } from "../../kms/attestation/tdx/collateral-index.ts";
import { digestOf } from "../../kms/attestation/tdx/collateral-items.ts";
import { intelSgxRootCa, loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { simulatedPlatform } from "../support/simulated-td.ts";
import { anchor, collateralWorlds, hour, platform, quote, refused, start } from "./support/collateral-world.ts";
import { steppedDisk } from "./support/stepped-disk.ts";

const honest = platform.collateral(start);
const newWorld = collateralWorlds();

async function world() {
  const made = await newWorld({ evaluationNumber: 20, crlNumber: 9 });
  const { path } = collateralFolder(made.dir, anchor);
  const items = () => readdirSync(join(path, "items")).map((name) => join(path, "items", name));
  return { ...made, path, index: join(path, "index.json"), items };
}

async function filled() {
  const made = await world();
  const store = made.open();
  await store.collateralFor(quote);
  await store.settled();
  return { ...made, store };
}

describe("the folder", () => {
  test("holds a file for each part, named by its digest, and an index, for its owner only", async () => {
    const { path, items, index } = await filled();
    expect(items()).toHaveLength(4);
    expect(readdirSync(path).sort()).toEqual([".lock", "index.json", "items"]);
    for (const file of [...items(), index]) expect(statSync(file).mode & 0o777).toBe(0o600);
    for (const folder of [path, join(path, "items")]) expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  test("is closed to others with the next part, where somebody opened it", async () => {
    const { pccs, path, open, at } = await filled();
    for (const folder of [path, join(path, "items")]) chmodSync(folder, 0o777);
    at(new Date(start.getTime() + hour));
    pccs.publish({ evaluationNumber: 21, crlNumber: 10 });
    const store = open();
    await store.collateralFor(quote);
    await store.refresh();
    await store.settled();
    for (const folder of [path, join(path, "items")]) expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  test("serves a KMS that starts while the PCCS is away, and one that never asks it", async () => {
    const { pccs, open } = await filled();
    await pccs.stop();
    for (const store of [open(), open({ isOffline: true })]) {
      expect((await store.collateralFor(quote)).tcbInfo).toBe(honest.tcbInfo.replaceAll(":17,", ":20,"));
    }
  });

  test("keeps one file of a part, whatever came before", async () => {
    const { pccs, open, items, at } = await filled();
    for (const hours of [1, 2, 3]) {
      at(new Date(start.getTime() + hours * hour));
      pccs.publish({ evaluationNumber: 20 + hours, crlNumber: 9 + hours });
      const store = open();
      await store.collateralFor(quote);
      await store.settled();
    }
    expect(items()).toHaveLength(4);
  });

  test("of another trust anchor is another one", async () => {
    const { dir, path } = await filled();
    const other = loadTrustAnchor(simulatedPlatform({ revokePck: true }).rootDer);
    expect(collateralFolder(dir, other).path).toBe(path);
    expect(collateralFolder(dir, intelSgxRootCa).path).not.toBe(path);
  });
});

const flipByte = (file: string) => {
  const content = readFileSync(file);
  const at = Math.floor(content.length / 2);
  content[at] = (content[at] ?? 0) ^ 1;
  writeFileSync(file, content);
};

describe("what is damaged on disk", () => {
  test.each<[string, (file: string) => void]>([
    ["changed", flipByte],
    ["cut off", (file) => truncateSync(file, 100)],
    ["emptied", (file) => truncateSync(file, 0)],
    ["gone", (file) => unlinkSync(file)],
    ["replaced by something large", (file) => writeFileSync(file, Buffer.alloc(5 * 1024 * 1024))],
  ])("a part that is %s is not served, and fetched anew", async (_name, damage) => {
    const { pccs, open, items } = await filled();
    for (const file of items()) damage(file);
    const offline = open({ isOffline: true });
    await expect(offline.collateralFor(quote)).rejects.toEqual(refused("unavailable.collateral"));
    expect(offline.takeProblems()).toHaveLength(4);
    const store = open();
    await store.collateralFor(quote);
    await store.settled();
    await pccs.stop();
    await open().collateralFor(quote);
  });

  test.each<[string, (file: string) => void]>([
    ["changed", flipByte],
    ["cut off", (file) => truncateSync(file, 100)],
    ["emptied", (file) => truncateSync(file, 0)],
    ["gone", (file) => unlinkSync(file)],
    ["another format", (file) => writeFileSync(file, '{"format":"other","version":1}')],
    [
      "JSON with a repeated member",
      (file) => writeFileSync(file, readFileSync(file, "utf8").replace('"version"', '"version": 1, "version"')),
    ],
  ])("an index that is %s is made anew of the parts, and nothing older passes", async (_name, damage) => {
    const { pccs, open, index } = await filled();
    damage(index);
    pccs.publish({ evaluationNumber: 19, crlNumber: 8 });
    const store = open();
    expect((await store.collateralFor(quote)).tcbInfo).toContain('"tcbEvaluationDataNumber":20');
    await store.settled();
    expect(JSON.parse(readFileSync(index, "utf8")).format).toBe("keyward-collateral-index");
    expect((await open({ isOffline: true }).collateralFor(quote)).tcbInfo).toContain(":20");
  });

  test("a floor with a digit changed does not refuse what is newer, and is said to the operator", async () => {
    const { pccs, open, index, at } = await filled();
    const text = readFileSync(index, "utf8");
    const higher = text.replace(/"number": "20"/g, '"number": "90"');
    expect(higher).not.toBe(text);
    writeFileSync(index, higher);
    at(new Date(start.getTime() + hour));
    pccs.publish({ evaluationNumber: 21, crlNumber: 10 });
    const store = open();
    await store.collateralFor(quote);
    await store.refresh();
    expect((await store.collateralFor(quote)).tcbInfo).toContain('"tcbEvaluationDataNumber":21');
    expect(store.takeProblems().join()).toContain("checksum");
  });

  test("a file that says something else under a digest of its own is verified like an answer", async () => {
    const { open, items, index, path } = await filled();
    const file =
      items().find((each) => readFileSync(each, "utf8").includes("tcbLevels") && readFileSync(each, "utf8").includes("fmspc")) ??
      "";
    const forged = readFileSync(file, "utf8").replaceAll("OutOfDate", "UpToDate");
    const digest = digestOf(Buffer.from(forged));
    writeFileSync(join(path, "items", digest), forged);
    const { files, ...rest } = decodeIndex(readFileSync(index, "utf8"));
    const named = [...files].map(([name, old]) => [name, file.endsWith(old) ? digest : old] as const);
    writeFileSync(index, encodeIndex({ ...rest, files: new Map(named) }));
    const offline = open({ isOffline: true });
    await expect(offline.collateralFor(quote)).rejects.toEqual(refused("unavailable.collateral"));
    expect(offline.takeProblems().join()).toContain("Signature is invalid for tcb_info");
  });
});

/** Operations that are done before the end; a write that the end meets leaves half of its bytes. */
function endingDisk(after: number): CollateralDisk {
  let done = 0;
  return steppedDisk(async (work, partly) => {
    done += 1;
    if (done > after + 1) throw new Error("the process has ended");
    if (done === after + 1) {
      await partly?.();
      throw new Error("the process ends");
    }
    return work();
  });
}

describe("a process that ends between two writes", () => {
  test("leaves the old or the new, and never less than was accepted before", async () => {
    for (let after = 0; ; after += 1) {
      const { pccs, open, at, items } = await filled();
      at(new Date(start.getTime() + hour));
      pccs.publish({ evaluationNumber: 30, crlNumber: 30 });
      const ending = open({}, endingDisk(after));
      await ending.collateralFor(quote);
      await ending.settled();
      const isWhole = ending.takeProblems().length === 0;
      await pccs.stop();
      const { tcbInfo } = await open({ isOffline: true }).collateralFor(quote);
      expect(tcbInfo).toMatch(/"tcbEvaluationDataNumber":(20|30)/);
      await pccs.start();
      const next = open();
      await next.collateralFor(quote);
      await next.settled();
      at(new Date(start.getTime() + 2 * hour));
      pccs.publish({ evaluationNumber: 31, crlNumber: 31 });
      await next.refresh();
      expect(items()).toHaveLength(4);
      if (isWhole) break;
      expect(after).toBeLessThan(60);
    }
  });
});

describe("a disk that fails", () => {
  const failing = (code: string): CollateralDisk => ({
    ...systemCollateralDisk,
    write: () => Promise.reject(Object.assign(new Error(code), { code })),
  });

  test.each(["ENOSPC", "EROFS", "EACCES", "EIO"])(
    "with %s is said to the operator, keeps nobody from keys, and is tried again",
    async (code) => {
      const { open, pccs, at } = await world();
      let isMended = false;
      const disk = {
        ...systemCollateralDisk,
        write: (path: string, content: Uint8Array) => (isMended ? systemCollateralDisk : failing(code)).write(path, content),
      };
      const store = open({}, disk);
      await store.collateralFor(quote);
      await store.settled();
      expect(store.takeProblems().join()).toContain(code);
      isMended = true;
      at(new Date(start.getTime() + 60_000));
      await store.refresh();
      await pccs.stop();
      await open().collateralFor(quote);
    },
  );

  test.runIf(process.getuid?.() !== 0)("for want of rights", async () => {
    const { dir, open } = await filled();
    chmodSync(dir, 0o500);
    const store = open();
    await store.collateralFor(quote);
    chmodSync(dir, 0o700);
  });

  test("as a file where the folder should be", async () => {
    const { dir, open } = await world();
    writeFileSync(dir, "");
    const store = open();
    await store.collateralFor(quote);
    await store.settled();
    expect(store.takeProblems().join()).toContain("needs a folder of its own");
  });
});

describe("two processes on one folder", () => {
  test("write in turns, lose nothing of each other, and see what the other wrote", async () => {
    const { pccs, open, at, items } = await filled();
    const three = [open(), open(), open()];
    for (const store of three) await store.collateralFor(quote);
    at(new Date(start.getTime() + hour));
    pccs.publish({ evaluationNumber: 21, crlNumber: 10 });
    await Promise.all(three.map((store) => store.refresh()));
    expect(items()).toHaveLength(4);
    for (const store of three) expect(store.takeProblems()).toEqual([]);
    const [first, second] = three;
    at(new Date(start.getTime() + 2 * hour));
    pccs.publish({ evaluationNumber: 22, crlNumber: 11 });
    await first?.refresh();
    await pccs.stop();
    await second?.refresh();
    expect((await second?.collateralFor(quote))?.tcbInfo).toContain(":22");
  });
});
