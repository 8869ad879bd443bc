/** Looks for newer collateral while the KMS runs, before a request has to wait for it, and takes over what is imported meanwhile. */
import type { Logger } from "pino";
import type { CollateralStore } from "./attestation/tdx/collateral-store.ts";

export interface RefreshSettings {
  readonly collateral: Pick<CollateralStore, "refresh" | "nextRefresh" | "takeProblems">;
  readonly now: () => Date;
  readonly log: Pick<Logger, "warn">;
}

/** How soon an import is seen at the latest. */
const MAX_PAUSE_MS = 15_000;
/** A PCCS that is away for a day fills no log. */
const REPEAT_MS = 10 * 60_000;
const MAX_SAID = 256;
/** Collateral that ends in seconds is a test's. */
const MIN_PAUSE_MS = 500;

/** Runs until the process ends, and does not keep it from ending. */
export function keepCollateralFresh({ collateral, now, log }: RefreshSettings): void {
  const said = new Map<string, number>();
  const say = (problem: string) => {
    const at = performance.now();
    if (at - (said.get(problem) ?? Number.NEGATIVE_INFINITY) < REPEAT_MS) return;
    if (said.size >= MAX_SAID) said.clear();
    said.set(problem, at);
    log.warn({ collateral: true }, problem);
  };
  const turn = async () => {
    await collateral.refresh();
    for (const problem of collateral.takeProblems()) say(problem);
    const next = collateral.nextRefresh();
    const pause = next === undefined ? MAX_PAUSE_MS : next * 1000 - now().getTime();
    setTimeout(start, Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, pause))).unref();
  };
  const start = () =>
    void turn().catch((thrown: unknown) => {
      log.warn({ err: thrown }, "collateral is not refreshed, the next turn tries again");
      setTimeout(start, MAX_PAUSE_MS).unref();
    });
  start();
}
