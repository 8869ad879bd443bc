/**
 * Collateral from the configured service, a folder and imports: every part is verified before it is kept, is never older than one
 * before it, is looked for anew in the background, and is served until it ends while the service is away.
 */
import { asKmsError, KmsError } from "../../errors.ts";
import type { Collateral } from "./collateral.ts";
import { createChains } from "./collateral-chains.ts";
import { CollateralChecks, fetchedKey } from "./collateral-checks.ts";
import type { CollateralFolder } from "./collateral-disk.ts";
import { createCollateralFetch, type FetchedKey, type FetchSettings } from "./collateral-fetch.ts";
import { type ItemKey, type ItemKind, nameOf, type Rank } from "./collateral-items.ts";
import { Keeper } from "./collateral-keeper.ts";
import { createKeyReader } from "./collateral-machine.ts";
import { partsOf } from "./collateral-shelf.ts";
import { dueAt, isConfirmed, isGood, isOverdue } from "./collateral-times.ts";
import type { Quote } from "./quote.ts";

export interface CollateralSource {
  collateralFor(quote: Quote): Promise<Collateral>;
}

export interface CollateralStatus {
  readonly name: string;
  readonly kind: ItemKind;
  readonly rank: Rank | undefined;
  readonly lastSecond: number;
  readonly checkedAt: number | undefined;
  readonly failedAt: number | undefined;
  readonly digest: string;
}

export interface CollateralStore extends CollateralSource {
  /** Whether the store would give this very value again without asking anybody: not replaced, not due for a refresh, not ended. */
  isCurrent(collateral: Collateral): boolean;
  /** Takes over what others wrote into the folder and asks for what is due; what fails is counted and noted, never thrown. */
  refresh(): Promise<void>;
  /** Whole seconds since 1970 at which `refresh` has something to do next, as far as is known now. */
  nextRefresh(): number | undefined;
  status(): readonly CollateralStatus[];
  /** Answers that were missing or not good enough, since the start. */
  failures(): ReadonlyMap<ItemKind, number>;
  /** What the operator should know, once. */
  takeProblems(): readonly string[];
  /** Resolves when the folder has what was accepted so far. */
  settled(): Promise<void>;
}

export interface CollateralStoreSettings extends FetchSettings {
  /** Without one, everything is forgotten at the end of the process. */
  readonly folder?: CollateralFolder;
  /** No network at all: what the folder has, and what is imported into it. */
  readonly isOffline?: boolean;
  /** How long a request waits for news while what is kept is still good. */
  readonly patienceMs?: number;
  /** How long a request waits for all of its collateral, which goes on being asked for without it. */
  readonly waitMs?: number;
}

const PATIENCE_MS = 3_000;
/** Each request to the service has its own limit, and several may come one after the other; callers have to be answered in less than a minute. */
const WAIT_MS = 30_000;
const REQUESTS_AT_ONCE = 4;

export function createCollateralStore(settings: CollateralStoreSettings): CollateralStore {
  const { anchor, now, folder, isOffline = false, patienceMs = PATIENCE_MS, waitMs = WAIT_MS } = settings;
  const seconds = () => Math.floor(now().getTime() / 1000);
  const fetcher = isOffline ? undefined : createCollateralFetch(settings);
  const keeper = new Keeper({ anchor, now, folder });
  const checks = new CollateralChecks({ keeper, fetcher, seconds });
  const { shelf } = keeper;
  const keyOf = createKeyReader(anchor);
  const chainOf = createChains({ keeper, fetcher, anchor, seconds });
  const ready = createReady({ keeper, checks, seconds, isOffline, patienceMs });
  const due = (at: number) => shelf.all().filter((kept) => isGood(kept, at) && fetchedKey(kept.part.item) && at >= dueAt(kept));

  const collateralOf = async (quote: Quote): Promise<Collateral> => {
    if (quote.qe.certification.kind === "encrypted-ppid") await ready([{ kind: "root-crl" }]);
    const key = keyOf(quote, seconds(), await chainOf(quote));
    await ready(partsOf(key));
    return shelf.assemble(key);
  };

  return {
    async collateralFor(quote) {
      const collateral = await patiently(collateralOf(quote), waitMs);
      if (collateral !== undefined) return collateral;
      throw new KmsError(
        "unavailable.collateral",
        `collateral: not all of it within ${waitMs} ms, which goes on: try again later`,
      );
    },
    isCurrent(collateral) {
      const at = seconds();
      const isCurrent = (name: string) => {
        const kept = shelf.get(name);
        return isGood(kept, at) && (fetcher === undefined || isConfirmed(kept, at) || checks.isRunning(name));
      };
      return shelf.currentPartsOf(collateral)?.every(isCurrent) ?? false;
    },
    async refresh() {
      await keeper.settle();
      if (fetcher !== undefined) {
        const keys = due(seconds()).flatMap(({ part }) => fetchedKey(part.item) ?? []);
        await inTurns(keys, REQUESTS_AT_ONCE, (key) => checks.quietly(key));
      }
      await keeper.settle();
    },
    nextRefresh() {
      if (fetcher === undefined) return undefined;
      const times = shelf.all().flatMap((kept) => (fetchedKey(kept.part.item) && isGood(kept, seconds()) ? [dueAt(kept)] : []));
      return times.length === 0 ? undefined : Math.min(...times);
    },
    status: () =>
      shelf.all().map(({ part, checkedAt, failedAt }) => {
        const { name, rank, lastSecond, digest } = part;
        return { name, kind: part.item.kind, rank, lastSecond, checkedAt, failedAt, digest };
      }),
    failures: () => checks.failures,
    takeProblems: () => keeper.takeProblems(),
    settled: () => keeper.settle(),
  };
}

interface ReadySettings {
  readonly keeper: Keeper;
  readonly checks: CollateralChecks;
  readonly seconds: () => number;
  readonly isOffline: boolean;
  readonly patienceMs: number;
}

/** Waits for what is missing, a little for what should be looked for anew, and not at all while the service is known to be away. */
function createReady({
  keeper,
  checks,
  seconds,
  isOffline,
  patienceMs,
}: ReadySettings): (keys: readonly FetchedKey[]) => Promise<void> {
  const { shelf } = keeper;
  const isMissing = (key: ItemKey) => !isGood(shelf.get(nameOf(key)), seconds());

  const ready = async (keys: readonly FetchedKey[]): Promise<void> => {
    if (keys.some(isMissing)) await keeper.settle(); // an import may have brought it
    const missing = keys.filter(isMissing);
    const outcomes = await Promise.allSettled(missing.map(fetchMissing));
    if (!isOffline) await confirm(keys.filter((key) => !missing.includes(key)));
    for (const key of keys) {
      if (!isMissing(key)) continue;
      const outcome = outcomes[missing.indexOf(key)];
      throw refusalOf(nameOf(key), outcome?.status === "rejected" ? outcome.reason : undefined);
    }
  };

  /** The end of what was kept is an answer already: for news after it nobody waits as long as for the first. */
  async function fetchMissing(key: FetchedKey): Promise<void> {
    const asked = checks.check(key);
    if (shelf.endOf(nameOf(key)) === undefined) return asked;
    await patiently(asked, patienceMs);
  }

  async function confirm(keys: readonly FetchedKey[]): Promise<void> {
    const at = seconds();
    const kept = keys.flatMap((key) => {
      const found = shelf.get(nameOf(key));
      return found === undefined ? [] : [{ key, found }];
    });
    const overdue = kept.filter(({ found }) => isOverdue(found, at)).map(({ key }) => checks.quietly(key));
    for (const { key, found } of kept) if (found.failedAt !== undefined && at >= dueAt(found)) void checks.quietly(key);
    if (overdue.length > 0) await patiently(Promise.all(overdue), patienceMs);
  }

  function refusalOf(name: string, reason: unknown): KmsError {
    const problem = reason === undefined ? unanswered(name) : asKmsError(reason);
    const lastSecond = shelf.endOf(name);
    // a service that answers with something worse has its own code; one that is away cannot hide that the time is up
    if (lastSecond === undefined || seconds() <= lastSecond || problem.family !== "unavailable") return problem;
    const ended = new Date(lastSecond * 1000).toISOString();
    return new KmsError("unproven.collateral-expired", `${name} ended at ${ended}: ${problem.message}`, { cause: problem });
  }
  return ready;
}

function unanswered(name: string): KmsError {
  return new KmsError("unavailable.collateral", `${name}: the service has not answered yet`);
}

/** Ends with the work, or without it and with undefined when the time is up; the work goes on. */
async function patiently<T>(work: Promise<T>, ms: number): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), ms);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function inTurns<T>(values: readonly T[], atOnce: number, work: (value: T) => Promise<void>): Promise<void> {
  const left = [...values];
  const turn = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) await work(next);
  };
  await Promise.all(Array.from({ length: atOnce }, turn));
}
