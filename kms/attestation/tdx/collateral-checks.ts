/** Asks the service for the newest of one part, once for all who wait for it, and keeps what is good. */
import { asKmsError, KmsError } from "../../errors.ts";
import { RecentFailures } from "./collateral-failures.ts";
import { asUnavailable, type CollateralFetch, type FetchedKey } from "./collateral-fetch.ts";
import { type ItemKey, type ItemKind, itemKinds, nameOf } from "./collateral-items.ts";
import type { Keeper } from "./collateral-keeper.ts";
import { isGood } from "./collateral-times.ts";

export interface CheckSettings {
  readonly keeper: Keeper;
  /** Undefined without a network. */
  readonly fetcher: CollateralFetch | undefined;
  /** Whole seconds since 1970. */
  readonly seconds: () => number;
}

export class CollateralChecks {
  readonly failures = new Map<ItemKind, number>(itemKinds.map((kind) => [kind, 0]));
  readonly #running = new Map<string, Promise<void>>();
  readonly #failed: RecentFailures;
  readonly #settings: CheckSettings;

  constructor(settings: CheckSettings) {
    this.#settings = settings;
    this.#failed = new RecentFailures(settings.seconds);
  }

  isRunning(name: string): boolean {
    return this.#running.has(name);
  }

  check(key: FetchedKey): Promise<void> {
    const name = nameOf(key);
    const known = this.#running.get(name);
    if (known !== undefined) return known;
    const started = this.#look(key, name).finally(() => this.#running.delete(name));
    this.#running.set(name, started);
    return started;
  }

  /** What fails is counted and noted here, and what is kept stays in force. */
  quietly(key: FetchedKey): Promise<void> {
    return this.check(key).catch(() => undefined);
  }

  async #look(key: FetchedKey, name: string): Promise<void> {
    const { keeper, fetcher, seconds } = this.#settings;
    if (fetcher === undefined) throw offline(name);
    // what is kept has its own times to be asked for again
    if (!isGood(keeper.shelf.get(name), seconds())) this.#failed.requireFew(name);
    try {
      const [item] = await Promise.all([fetcher.item(key), key.kind === "root-crl" ? undefined : this.#rootListFirst()]);
      await asUnavailable(() => keeper.accept(item));
      this.#mark(name, { checkedAt: seconds(), failedAt: undefined });
      this.#failed.forget(name);
      void keeper.settle();
    } catch (thrown) {
      this.#failed.note(name, thrown);
      this.failures.set(key.kind, (this.failures.get(key.kind) ?? 0) + 1);
      keeper.note(`${name} is not refreshed: ${asKmsError(thrown).message}`);
      this.#mark(name, { failedAt: seconds() });
      throw thrown;
    }
  }

  /** A new root list may revoke the signer of what comes with it. */
  async #rootListFirst(): Promise<void> {
    const { keeper, seconds } = this.#settings;
    const asked = this.#running.get("root-crl");
    if (isGood(keeper.shelf.get("root-crl"), seconds())) await asked?.catch(() => undefined);
    else await this.check({ kind: "root-crl" });
  }

  #mark(name: string, times: { readonly checkedAt?: number; readonly failedAt: number | undefined }): void {
    const kept = this.#settings.keeper.shelf.get(name);
    if (kept !== undefined) Object.assign(kept, times);
  }
}

/** Undefined for what is asked for on behalf of a quote only. */
export function fetchedKey(key: ItemKey): FetchedKey | undefined {
  switch (key.kind) {
    case "root-crl":
      return { kind: key.kind };
    case "pck-crl":
      return { kind: key.kind, ca: key.ca };
    case "tcb-info":
      return { kind: key.kind, tee: key.tee, fmspc: key.fmspc };
    case "qe-identity":
      return { kind: key.kind, tee: key.tee };
    case "pck-chain":
      return undefined;
  }
}

function offline(name: string): KmsError {
  return new KmsError("unavailable.collateral", `${name}: this KMS is offline: ./run collateral import FILE`);
}
