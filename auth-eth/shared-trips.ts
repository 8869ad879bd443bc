/** Questions that begin in one turn of the event loop share an HTTP request; each keeps its own time, its own answer and its own errors. */
import { type Answer, type Batch, BatchDraft, type Question } from "./rpc-batch.ts";
import { UnavailableError } from "./unavailable.ts";

/** Proxies before nodes take bodies of 1 MiB; an ordinary question has 3 KiB. */
const maxRequestBytes = 256 * 1024;
/** How long an endpoint is asked one question a request after it could not be asked several. */
export const apartMs = 10 * 60 * 1000;
/** The same after one answer that did not come in time, which happens to every endpoint; doubled each time until one comes. */
export const firstSlowMs = 5_000;
/** These count requests, not what is in them: more requests would be the wrong answer. */
const busyStatuses: readonly number[] = [429, 503];

/** An HTTP status that is no success. */
export class StatusError extends UnavailableError {
  readonly status: number;

  constructor(status: number) {
    super("rpc-status");
    this.status = status;
  }
}

export interface SharedTrips {
  /** Never answered by a request that was sent before this. Rejects with UnavailableError: `rpc-timeout` once the signal aborts. */
  ask(question: Question, signal: AbortSignal): Promise<readonly unknown[]>;
}

export interface SharedTripsSettings {
  /** One HTTP round trip: an answer for each question of the batch. */
  readonly send: (batch: Batch, signal: AbortSignal) => Promise<readonly Answer[]>;
  /** In one request, unless a single question has more. */
  readonly maxCalls: number;
  /** Told when the endpoint begins to be asked one question a request. */
  readonly onApart?: (() => void) | undefined;
  readonly now?: (() => number) | undefined;
}

export function createSharedTrips(settings: SharedTripsSettings): SharedTrips {
  const { send, maxCalls, onApart, now = () => performance.now() } = settings;
  let waiting: Rider[] = [];
  let apartUntil = Number.NEGATIVE_INFINITY;
  let slowUntil = Number.NEGATIVE_INFINITY;
  let slowMs = firstSlowMs;
  const stayApart = (ms: number) => {
    if (now() >= apartUntil) onApart?.();
    apartUntil = Math.max(apartUntil, now() + ms);
  };
  /** A node answers a batch call by call: the slow question of one must not use up the time of others again. */
  const noteSlow = (departed: number) => {
    if (departed < slowUntil) return; // it was under way when another was found slow, or this one was
    stayApart(slowMs);
    slowUntil = now() + slowMs;
    slowMs = Math.min(2 * slowMs, apartMs);
  };
  const askAlone = async (rider: Rider): Promise<boolean> => {
    const draft = new BatchDraft();
    draft.add(rider.question);
    const [answer] = await send(draft.finish(), rider.signal).catch((error: unknown) => [error]);
    rider.settle(answer);
    return Array.isArray(answer);
  };
  /** Remembered only if it helps: what is down stays down for one question too. */
  const askApart = async (riders: readonly Rider[]): Promise<void> => {
    const outcomes = await Promise.all(riders.filter((rider) => !rider.isOver).map(askAlone));
    if (outcomes.includes(true)) stayApart(apartMs);
  };
  const askTogether = async ({ draft, riders }: Group): Promise<void> => {
    const controller = new AbortController();
    const departed = now();
    for (const rider of riders)
      rider.onLeave = () => {
        noteSlow(departed);
        if (riders.every(({ isOver }) => isOver)) controller.abort();
      };
    try {
      const answers = await send(draft.finish(), controller.signal);
      if (departed >= slowUntil) slowMs = firstSlowMs;
      if (answers.every(isRpcError)) await askApart(riders);
      else for (const [index, rider] of riders.entries()) rider.settle(answers[index]);
    } catch (error) {
      if (isAboutSize(error)) await askApart(riders);
      else for (const rider of riders) rider.settle(error);
    }
  };
  const depart = (): void => {
    const riders = waiting.filter(({ isOver }) => !isOver);
    waiting = [];
    for (const group of groupsOf(riders, maxCalls)) {
      const [first, ...others] = group.riders;
      if (others.length > 0) void askTogether(group);
      else if (first) void askAlone(first);
    }
  };
  return {
    ask(question, signal) {
      const rider = new Rider(question, signal);
      if (now() < apartUntil) void askAlone(rider);
      else if (waiting.push(rider) === 1) setImmediate(depart);
      return rider.answer;
    },
  };
}

class Rider {
  readonly question: Question;
  readonly signal: AbortSignal;
  readonly answer: Promise<readonly unknown[]>;
  onLeave: (() => void) | undefined;
  isOver = false;
  readonly #resolve: (results: readonly unknown[]) => void;
  readonly #reject: (error: unknown) => void;

  constructor(question: Question, signal: AbortSignal) {
    this.question = question;
    this.signal = signal;
    const { promise, resolve, reject } = Promise.withResolvers<readonly unknown[]>();
    this.answer = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    if (signal.aborted) this.#leave();
    else signal.addEventListener("abort", this.#leave, { once: true });
  }

  /** The first word counts. */
  settle(answer: unknown): void {
    this.isOver = true;
    this.signal.removeEventListener("abort", this.#leave);
    if (Array.isArray(answer)) this.#resolve(answer);
    else this.#reject(answer ?? new UnavailableError("internal"));
  }

  readonly #leave = (): void => {
    if (this.isOver) return;
    this.settle(new UnavailableError("rpc-timeout"));
    this.onLeave?.();
  };
}

interface Group {
  readonly draft: BatchDraft;
  readonly riders: Rider[];
}

function groupsOf(riders: readonly Rider[], calls: number): Group[] {
  const groups: Group[] = [];
  for (const rider of riders) {
    let group = groups.at(-1);
    if (!group?.draft.hasRoomFor(rider.question, { calls, bytes: maxRequestBytes })) {
      group = { draft: new BatchDraft(), riders: [] };
      groups.push(group);
    }
    group.draft.add(rider.question);
    group.riders.push(rider);
  }
  return groups;
}

/** What an endpoint may say of a batch that it finds too large. */
function isAboutSize(error: unknown): boolean {
  if (error instanceof StatusError) return !busyStatuses.includes(error.status);
  return error instanceof UnavailableError && (error.boundary === "rpc-garbage" || error.boundary === "rpc-too-large");
}

function isRpcError(answer: Answer): boolean {
  return answer instanceof Error && answer.boundary === "rpc-error";
}
