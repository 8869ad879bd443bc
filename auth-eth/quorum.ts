/** Puts one question to every endpoint and returns the first answer that enough of them give alike, at the same block. */
import type { Boundary } from "./api.ts";
import type { Reads } from "./endpoint-reader.ts";
import { isUnheard, type Outcome, outcomeOf, type Patience, storyOf, type Trip, type Vote } from "./tally.ts";
import { UnavailableError } from "./unavailable.ts";

/**
 * The share of the deadline that a few late endpoints may cost: before the second trip, and again before a lower block is settled
 * for. After the decision they have it once more, to end in peace, so that their sockets serve again.
 */
export const patienceShare = 1 / 20;
/** Until when the late are waited for if a block is to be settled for that is well behind what its own voters named. */
const holdUpShare = 1 / 2;

export interface Poll {
  /** One for each endpoint. Without a number it reads at the block that its settings name; `end` is the deadline. */
  readonly voters: readonly ((at: number | undefined, signal: AbortSignal, end: number) => Promise<Reads>)[];
  readonly quorum: number;
  readonly deadlineMs: number;
  /** Told of a voter whose own answer cannot be used, or is another story of the block that was agreed on: `quorum`. */
  readonly dissent: (voter: number, boundary: Boundary) => void;
}

/** Throws UnavailableError: `quorum` where enough answered and too few alike, else what kept too many from answering. */
export function agree(poll: Poll): Promise<Reads> {
  return new Count(poll).run();
}

class Count {
  readonly #poll: Poll;
  readonly #end: number;
  readonly #controller = new AbortController();
  readonly #result = Promise.withResolvers<Reads>();
  readonly #votes: Vote[] = [];
  readonly #failures: { voter: number; boundary: Boundary; cause: unknown }[] = [];
  readonly #running = new Set<Trip>();
  #candidates: readonly number[] | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #patience: Patience = "full";
  readonly #timers = new Map<Patience, NodeJS.Timeout>();
  #isDone = false;
  #agreed: Vote | undefined;

  constructor(poll: Poll) {
    this.#poll = poll;
    this.#end = performance.now() + poll.deadlineMs;
  }

  run(): Promise<Reads> {
    this.#deadline = setTimeout(() => this.#controller.abort(), this.#poll.deadlineMs);
    this.#poll.voters.forEach((_, voter) => void this.#ask(voter));
    return this.#result.promise;
  }

  async #ask(voter: number, at?: number): Promise<void> {
    const trip: Trip = { voter, at };
    this.#running.add(trip);
    try {
      const reads = await this.#poll.voters[voter]?.(at, this.#controller.signal, this.#end);
      const isAlone = this.#poll.voters.length === 1; // nobody to compare its story with
      if (reads) this.#take({ voter, reads, story: isAlone ? "" : storyOf(reads) }, at);
    } catch (cause) {
      const boundary = cause instanceof UnavailableError ? cause.boundary : "internal";
      if (at === undefined) this.#failures.push({ voter, boundary, cause });
      if (at === undefined && !isUnheard(boundary)) this.#poll.dissent(voter, boundary);
    }
    this.#running.delete(trip);
    this.#settle();
  }

  #take(vote: Vote, at: number | undefined): void {
    this.#votes.push(vote);
    if (this.#isDone) this.#compare(vote);
    else if (at === undefined) this.#askAgain(vote.voter);
  }

  /** Nothing before the second trip has begun. */
  #askAgain(voter: number): void {
    for (const at of this.#candidates ?? []) void this.#ask(voter, at);
  }

  #settle(): void {
    if (this.#isDone) return;
    const outcome = this.#outcome(this.#patience);
    if (outcome) this.#act(outcome);
    else this.#growImpatient();
  }

  /** Where less patience would act already, a timer takes it away. */
  #growImpatient(): void {
    const lower = lowerThan(this.#patience).find((patience) => this.#outcome(patience) !== undefined);
    if (lower === undefined || this.#timers.has(lower)) return;
    const lose = () => {
      this.#patience = lower;
      this.#settle();
    };
    this.#timers.set(lower, setTimeout(lose, lower === "short" ? this.#shareMs(patienceShare) : this.#holdUpMs()));
  }

  #outcome(patience: Patience): Outcome | undefined {
    const { quorum } = this.#poll;
    const [votes, failures, running, candidates] = [this.#votes, this.#failures, this.#running, this.#candidates];
    return outcomeOf({ quorum, votes, failures, running, candidates }, patience);
  }

  #shareMs(share: number): number {
    return this.#poll.deadlineMs * share;
  }

  #holdUpMs(): number {
    return Math.max(this.#shareMs(patienceShare), this.#end - this.#shareMs(holdUpShare) - performance.now());
  }

  #calm(): void {
    this.#timers.forEach(clearTimeout);
    this.#timers.clear();
    this.#patience = "full";
  }

  #act(outcome: Outcome): void {
    this.#calm();
    if (outcome.kind === "second-trip") {
      this.#candidates = outcome.candidates;
      for (const { voter } of [...this.#votes]) this.#askAgain(voter);
      return;
    }
    this.#finish();
    if (outcome.kind === "agreed") {
      this.#agreed = outcome.vote;
      for (const vote of this.#votes) this.#compare(vote);
      this.#result.resolve(outcome.vote.reads);
    } else {
      const cause = this.#failures.find(({ boundary }) => boundary === outcome.boundary)?.cause;
      this.#result.reject(new UnavailableError(outcome.boundary, { cause }));
    }
  }

  #finish(): void {
    this.#isDone = true;
    clearTimeout(this.#deadline);
    if (this.#running.size === 0) return;
    const ms = Math.max(0, Math.min(this.#shareMs(patienceShare), this.#end - performance.now()));
    setTimeout(() => this.#controller.abort(), ms).unref();
  }

  #compare({ voter, story, reads }: Vote): void {
    const isSameBlock = reads.header.number === this.#agreed?.reads.header.number;
    if (isSameBlock && story !== this.#agreed?.story) this.#poll.dissent(voter, "quorum");
  }
}

function lowerThan(patience: Patience): readonly Patience[] {
  const levels: readonly Patience[] = ["full", "short", "none"];
  return levels.slice(levels.indexOf(patience) + 1);
}
