/** Work that many callers want at once: done once for all who ask for the same, a few at a time, and to its end when its callers leave. */
import { BoundedMap } from "../../bounded-map.ts";
import { type Code, KmsError } from "../../errors.ts";

export interface SharedWorkSettings {
  /** Done at once. */
  readonly running: number;
  /** Callers that wait, and works that are running or in line. */
  readonly waiting: number;
  /** Works of one owner among them: nobody fills the line alone. */
  readonly ofOneOwner?: number;
  /** Callers of one owner among those that wait: they may all want the same. */
  readonly callersOfOneOwner?: number;
  /** How long a caller waits. */
  readonly patienceMs: number;
  /** What a caller is told whose patience ends. */
  readonly late: { readonly code: Code; readonly message: string };
  /** How long work that failed three times, each within that time of the one before, is not tried again: who asks is told how it failed. */
  readonly restMs?: number;
}

/** An operator mends what was wrong and tries at once. */
const FAILURES_BEFORE_REST = 3;

interface Failure {
  readonly count: number;
  readonly until: number;
  readonly thrown: unknown;
}

/** So many places for each owner. */
class Shares {
  readonly #most: number;
  readonly #held = new Map<string, number>();

  constructor(most = Number.POSITIVE_INFINITY) {
    this.#most = most;
  }

  /** What comes back gives the place back. */
  take(owner: string | undefined): () => void {
    if (owner === undefined) return () => undefined;
    const before = this.#held.get(owner) ?? 0;
    if (before >= this.#most) {
      const message = `too much is asked for one app: at most ${this.#most} at once, try again later`;
      throw new KmsError("unavailable.overloaded", message);
    }
    this.#held.set(owner, before + 1);
    return () => {
      const left = (this.#held.get(owner) ?? 1) - 1;
      if (left === 0) this.#held.delete(owner);
      else this.#held.set(owner, left);
    };
  }
}

export class SharedWork<T> {
  readonly #settings: SharedWorkSettings;
  readonly #works = new Map<string, Promise<T>>();
  readonly #line: (() => void)[] = [];
  readonly #owned: Shares;
  readonly #waiting: Shares;
  readonly #failed: BoundedMap<string, Failure>;
  #running = 0;
  #callers = 0;

  constructor(settings: SharedWorkSettings) {
    this.#settings = settings;
    this.#failed = new BoundedMap(settings.waiting);
    this.#owned = new Shares(settings.ofOneOwner);
    this.#waiting = new Shares(settings.callersOfOneOwner);
  }

  /**
   * Work is of the owner who asks first; without one, it counts against all only. A caller of several works one after the other says
   * until when it waits for all of them, as a value of `performance.now()`.
   */
  async run(key: string, work: () => Promise<T>, owner?: string, until = Number.POSITIVE_INFINITY): Promise<T> {
    const { waiting } = this.#settings;
    const failed = this.#failed.get(key);
    if (failed !== undefined && failed.count >= FAILURES_BEFORE_REST && performance.now() < failed.until) throw failed.thrown;
    if (this.#callers >= waiting || (!this.#works.has(key) && this.#works.size >= waiting)) {
      throw new KmsError("unavailable.overloaded", `too many callers wait for an OS image: at most ${waiting}, try again later`);
    }
    const leave = this.#waiting.take(owner);
    this.#callers += 1;
    try {
      return await this.#patiently(this.#works.get(key) ?? this.#start(key, work, owner), until);
    } finally {
      this.#callers -= 1;
      leave();
    }
  }

  #start(key: string, work: () => Promise<T>, owner: string | undefined): Promise<T> {
    const giveBack = this.#owned.take(owner);
    const started = this.#inTurn(work).finally(() => {
      this.#works.delete(key);
      giveBack();
    });
    // all callers may have left
    started.then(
      () => this.#failed.delete(key),
      (thrown: unknown) => this.#rest(key, thrown),
    );
    this.#works.set(key, started);
    return started;
  }

  #rest(key: string, thrown: unknown): void {
    const { restMs } = this.#settings;
    if (restMs === undefined) return;
    const now = performance.now();
    const before = this.#failed.get(key);
    const count = before !== undefined && now < before.until ? before.count + 1 : 1;
    this.#failed.set(key, { count, until: now + restMs, thrown });
  }

  async #inTurn(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#settings.running) await new Promise<void>((resolve) => this.#line.push(resolve));
    else this.#running += 1;
    try {
      return await work();
    } finally {
      const next = this.#line.shift();
      if (next === undefined) this.#running -= 1;
      else next(); // which takes over the place
    }
  }

  async #patiently(shared: Promise<T>, until: number): Promise<T> {
    const { late } = this.#settings;
    const patienceMs = Math.max(0, Math.min(this.#settings.patienceMs, until - performance.now()));
    const ended = Promise.withResolvers<never>();
    const timer = setTimeout(() => ended.reject(new KmsError(late.code, late.message)), patienceMs);
    try {
      return await Promise.race([shared, ended.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}
