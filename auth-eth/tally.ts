/** Counts what endpoints said of one question: who agrees with whom, whether enough still can, and why it failed if not. */
import type { Boundary } from "./api.ts";
import type { Reads } from "./endpoint-reader.ts";

export interface Vote {
  readonly voter: number;
  readonly reads: Reads;
  /** Equal for equal stories: chain, every member of the block's header, every answer. */
  readonly story: string;
}

/** A question that runs: at the block that the endpoint itself chose, or at one that was chosen for it. */
export interface Trip {
  readonly voter: number;
  readonly at: number | undefined;
}

export interface Tally {
  readonly quorum: number;
  readonly votes: readonly Vote[];
  /** Of those whose first trip gave no vote. */
  readonly failures: readonly { readonly voter: number; readonly boundary: Boundary }[];
  readonly running: ReadonlySet<Trip>;
  /** The blocks of the second trip, the highest first; undefined before it. */
  readonly candidates: readonly number[] | undefined;
}

export type Outcome =
  | { readonly kind: "agreed"; readonly vote: Vote }
  | { readonly kind: "second-trip"; readonly candidates: readonly number[] }
  | { readonly kind: "failed"; readonly boundary: Boundary };

export function storyOf({ chainId, header, results }: Reads): string {
  const { number, hash, parentHash, timestamp } = header;
  return JSON.stringify([chainId, number, hash, parentHash, timestamp, results]);
}

/** What follows from the tally, or undefined while it pays to wait. Impatience acts as soon as waiting is no longer needed. */
export function outcomeOf(tally: Tally, isPatient: boolean): Outcome | undefined {
  return tally.candidates === undefined ? afterFirstTrip(tally, isPatient) : afterSecondTrip(tally, tally.candidates, isPatient);
}

function afterFirstTrip(tally: Tally, isPatient: boolean): Outcome | undefined {
  const { quorum, votes } = tally;
  const agreed = agreedAmong(votes, quorum);
  if (agreed) return agreed;
  const mayYetAgree = canAgree(tally, votes);
  if (votes.length >= quorum && !(isPatient && mayYetAgree)) {
    return { kind: "second-trip", candidates: candidatesOf(votes, quorum) };
  }
  const isHopeful = tally.running.size > 0 && (votes.length + tally.running.size >= quorum || canAgreeOnFailure(tally));
  return isHopeful ? undefined : { kind: "failed", boundary: boundaryOf(tally) };
}

/** The highest candidate wins: a lower one only when those above it cannot any more, or patience ends. */
function afterSecondTrip(tally: Tally, candidates: readonly number[], isPatient: boolean): Outcome | undefined {
  const votesAt = (number: number) => tally.votes.filter(({ reads }) => reads.header.number === number);
  for (const number of candidates) {
    const votes = votesAt(number);
    const agreed = agreedAmong(votes, tally.quorum);
    if (agreed) return agreed;
    if (isPatient && canAgree(tally, votes, number)) return undefined;
  }
  const agreed = agreedAmong(tally.votes, tally.quorum); // those who were late, at a block of their own
  if (agreed) return agreed;
  const isHopeful = tally.running.size > 0 && candidates.some((number) => canAgree(tally, votesAt(number), number));
  return isHopeful ? undefined : { kind: "failed", boundary: boundaryOf(tally) };
}

/**
 * Where k endpoints name different blocks: the k-th highest number, and those named below it. A liar that names a block which
 * nobody has would push an honest endpoint out of the first k places; the lowest block of the honest ones is among these anyway.
 */
function candidatesOf(votes: readonly Vote[], quorum: number): number[] {
  const numbers = votes.map(({ reads }) => reads.header.number).sort((a, b) => b - a);
  return [...new Set(numbers.slice(quorum - 1))];
}

function agreedAmong(votes: readonly Vote[], quorum: number): Outcome | undefined {
  const [highest] = partiesOf(votes)
    .filter(({ voters }) => voters.size >= quorum)
    .map(({ vote }) => vote)
    .sort((a, b) => b.reads.header.number - a.reads.header.number);
  return highest && { kind: "agreed", vote: highest };
}

function partiesOf(votes: readonly Vote[]): { vote: Vote; voters: Set<number> }[] {
  const parties = new Map<string, { vote: Vote; voters: Set<number> }>();
  for (const vote of votes) {
    const party = parties.get(vote.story) ?? { vote, voters: new Set() };
    parties.set(vote.story, party);
    party.voters.add(vote.voter);
  }
  return [...parties.values()];
}

/** Whether those who have not answered yet could make one of the parties large enough. */
function canAgree({ running, quorum }: Tally, votes: readonly Vote[], number?: number): boolean {
  const open = [...running].filter(({ at }) => at === undefined || at === number).map(({ voter }) => voter);
  return [new Set<number>(), ...partiesOf(votes).map(({ voters }) => voters)].some(
    (voters) => new Set([...voters, ...open]).size >= quorum,
  );
}

/** Endpoints that were heard and disagree are told apart from endpoints that were not heard. */
const unheard = ["rpc-status", "rpc-too-large", "rpc-error", "rpc-network", "rpc-timeout", "overloaded"] as const;
export const isUnheard = (boundary: Boundary): boolean => unheard.some((name) => name === boundary);

function canAgreeOnFailure({ failures, running, quorum }: Tally): boolean {
  return failures.some(({ boundary }) => !isUnheard(boundary) && countOf(failures, boundary) + running.size >= quorum);
}

/** What enough endpoints say alike; else that they disagree, if enough were heard; else why most were not, an answer before silence. */
function boundaryOf({ quorum, votes, failures }: Tally): Boundary {
  const heard = failures.filter(({ boundary }) => !isUnheard(boundary));
  const common = heard.find(({ boundary }) => countOf(heard, boundary) >= quorum);
  if (common) return common.boundary;
  const voters = new Set([...votes, ...heard].map(({ voter }) => voter));
  if (voters.size >= quorum) return "quorum";
  const ranked = unheard.toSorted((a, b) => countOf(failures, b) - countOf(failures, a));
  return ranked.find((boundary) => countOf(failures, boundary) > 0) ?? "quorum";
}

function countOf(failures: Tally["failures"], boundary: Boundary): number {
  return failures.filter((failure) => failure.boundary === boundary).length;
}
