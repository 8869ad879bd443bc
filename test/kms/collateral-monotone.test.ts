/** Threat 17, a PCCS that serves an older issue which has not ended: refused, also after a restart, and both sides of every date hold. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { collateralFolder } from "../../kms/attestation/tdx/collateral-disk.ts";
import { type CollateralStore, createCollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import type { PlatformKnobs } from "../../scripts/devnet/platform.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { type SpoiledPccs, startPccs } from "./support/spoiled-pccs.ts";

const start = new Date("2026-06-15T00:00:00Z");
const hour = 60 * 60 * 1000;
const day = 24 * hour;
const platform = simulatedPlatform();
const anchor = loadTrustAnchor(platform.rootDer);
const quote = parseQuote(simulatedTd({ platform }).quote(new Uint8Array(64)));
const refused = (code: string) => expect.objectContaining({ code });
const later = (ms: number, from = start) => new Date(from.getTime() + ms);

const dir = mkdtempSync(join(tmpdir(), "collateral-monotone-"));
const servers: SpoiledPccs[] = [];
const stores: CollateralStore[] = [];
let folders = 0;
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.settled())); // a folder that is written to cannot be removed
  for (const server of servers.splice(0)) await server.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function world(knobs: PlatformKnobs) {
  const pccs = await startPccs(start, knobs);
  servers.push(pccs);
  folders += 1;
  const path = join(dir, `${folders}`);
  let now = start;
  const open = (isOffline = false) => {
    const store = createCollateralStore({
      pccsUrl: pccs.url,
      anchor,
      now: () => now,
      folder: collateralFolder(path, anchor),
      isOffline,
    });
    stores.push(store);
    return store;
  };
  return {
    pccs,
    path,
    open,
    at: (time: Date) => {
      now = time;
    },
  };
}

const newest: PlatformKnobs = { evaluationNumber: 20, crlNumber: 9 };
const older: readonly { name: string; knobs: PlatformKnobs; at: Date; part: string }[] = [
  { name: "a lower tcbEvaluationDataNumber", knobs: { ...newest, evaluationNumber: 19 }, at: start, part: "tcb-info" },
  { name: "an earlier issue date under the same number", knobs: newest, at: later(-1_000), part: "root-crl" },
  {
    name: "an earlier issue date under a higher number",
    knobs: { ...newest, evaluationNumber: 21 },
    at: later(-day),
    part: "root-crl",
  },
  { name: "a lower CRL number", knobs: { ...newest, crlNumber: 8 }, at: start, part: "root-crl" },
  { name: "a lower CRL number of a later date", knobs: { ...newest, crlNumber: 8 }, at: later(hour), part: "root-crl" },
];

describe("after what was accepted, the PCCS serves", () => {
  test.each(older)("$name: what is kept stays", async ({ knobs, at, part }) => {
    const { pccs, open, at: setTime } = await world(newest);
    const store = open();
    const kept = await store.collateralFor(quote);
    pccs.publish(knobs, at);
    setTime(later(2 * hour));
    const after = await store.collateralFor(quote);
    expect(after.rootCaCrl).toEqual(kept.rootCaCrl);
    expect(after.tcbInfo === kept.tcbInfo || knobs.evaluationNumber === newest.evaluationNumber).toBe(true);
    expect(store.takeProblems().join("\n")).toContain(`${part}`);
    expect(store.takeProblems()).toEqual([]);
  });

  test.each(older)("$name, and the KMS was restarted: what was kept stays", async ({ knobs, at }) => {
    const { pccs, open, at: setTime } = await world(newest);
    const before = open();
    const kept = await before.collateralFor(quote);
    await before.settled();
    pccs.publish(knobs, at);
    setTime(later(2 * hour));
    const restarted = open();
    expect((await restarted.collateralFor(quote)).rootCaCrl).toEqual(kept.rootCaCrl);
    expect(restarted.takeProblems().join("\n")).toContain("is older than");
  });

  test("an older issue when what was kept has ended: refused with its own code, and a newer one is taken", async () => {
    const { pccs, open, at } = await world({ ...newest, crlNextUpdate: later(day) });
    const before = open();
    await before.collateralFor(quote);
    await before.settled();
    pccs.publish({ ...newest, crlNumber: 8, crlNextUpdate: later(60 * day) });
    at(later(day + hour));
    const restarted = open();
    await expect(restarted.collateralFor(quote)).rejects.toMatchObject({
      code: "unproven.collateral-older",
      message: expect.stringMatching(/update=early.*\.\/run collateral reset/),
    });
    pccs.publish({ ...newest, crlNumber: 10, crlNextUpdate: later(60 * day) });
    expect(verifyQuote({ quote, collateral: await restarted.collateralFor(quote), anchor, now: later(day + hour) }).status).toBe(
      "UpToDate",
    );
  });

  test("the same number and date with other content: taken, as nothing says which is newer", async () => {
    const { pccs, open, at } = await world(newest);
    const store = open();
    await store.collateralFor(quote);
    pccs.publish({ ...newest, tcbStatus: "OutOfDate" });
    at(later(hour));
    expect(verifyQuote({ quote, collateral: await store.collateralFor(quote), anchor, now: later(hour) }).status).toBe(
      "OutOfDate",
    );
  });
});

/** Times of the simulator: issued a day before, good for thirty days after. */
const seconds = (ms: number) => later(ms);
const jsonEnd = 30 * day;

describe("dates, one second to either side:", () => {
  test.each([
    {
      name: "Intel's JSON is good at its nextUpdate",
      at: seconds(jsonEnd),
      knobs: { crlNextUpdate: later(60 * day) },
      code: undefined,
    },
    {
      name: "Intel's JSON has ended after it",
      at: seconds(jsonEnd + 1_000),
      knobs: { crlNextUpdate: later(60 * day) },
      code: "unproven.collateral-expired",
    },
    {
      name: "a list is good before its nextUpdate",
      at: seconds(day - 1_000),
      knobs: { crlNextUpdate: later(day) },
      code: undefined,
    },
    {
      name: "a list has ended at its nextUpdate",
      at: seconds(day),
      knobs: { crlNextUpdate: later(day) },
      code: "unproven.collateral-expired",
    },
  ])("$name", async ({ at: time, knobs, code }) => {
    const { pccs, open, at } = await world(knobs);
    const store = open();
    await store.collateralFor(quote);
    await store.settled();
    await pccs.stop();
    at(time);
    for (const each of [store, open(), open(true)]) {
      const outcome = each.collateralFor(quote);
      if (code === undefined)
        expect(verifyQuote({ quote, collateral: await outcome, anchor, now: time }).status).toBe("UpToDate");
      else await expect(outcome).rejects.toEqual(refused(code));
    }
  });

  test.each([
    { name: "is taken at its issue date", at: later(-day), code: undefined },
    { name: "is from the future before it", at: later(-day - 1_000), code: "unproven.crl" },
  ])("collateral $name", async ({ at: time, code }) => {
    const { open, at } = await world({});
    at(time);
    const outcome = open().collateralFor(quote);
    if (code === undefined) expect((await outcome).tcbInfo).toContain("TDX");
    else await expect(outcome).rejects.toEqual(refused(code));
  });
});
