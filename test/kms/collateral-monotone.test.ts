/** Threat 17, a PCCS that serves an older issue which has not ended: refused, also after a restart, and both sides of every date hold. */
import { describe, expect, test } from "vitest";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import type { PlatformKnobs } from "../../scripts/devnet/platform.ts";
import { anchor, collateralWorlds, day, hour, later, quote, refused, start } from "./support/collateral-world.ts";

const world = collateralWorlds();

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
const jsonEnd = 30 * day;

describe("dates, one second to either side:", () => {
  test.each([
    {
      name: "Intel's JSON is good at its nextUpdate",
      at: later(jsonEnd),
      knobs: { crlNextUpdate: later(60 * day) },
      code: undefined,
    },
    {
      name: "Intel's JSON has ended after it",
      at: later(jsonEnd + 1_000),
      knobs: { crlNextUpdate: later(60 * day) },
      code: "unproven.collateral-expired",
    },
    {
      name: "a list is good before its nextUpdate",
      at: later(day - 1_000),
      knobs: { crlNextUpdate: later(day) },
      code: undefined,
    },
    {
      name: "a list has ended at its nextUpdate",
      at: later(day),
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
    for (const each of [store, open(), open({ isOffline: true })]) {
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
