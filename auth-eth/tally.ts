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

/** How much is still waited for: everybody who could change the outcome for the better, only what guards against a hold-up, nobody. */
export type Patience = "full" | "short" | "none";

/** A block of the main network, and a little. */
const closeSeconds = 15;

/** What follows from the tally, or undefined while it pays to wait. */
export function outcomeOf(tally: Tally, patience: Patience): Outcome | undefined {
  return tally.candidates === undefined ? afterFirstTrip(tally, patience) : afterSecondTrip(tally, tally.candidates, patience);
}

function afterFirstTrip(tally: Tally, patience: Patience): Outcome | undefined {
  const { quorum, votes, running } = tally;
  const vote = agreedAmong(votes, quorum);
  if (vote) return { kind: "agreed", vote };
  if (votes.length >= quorum && !(patience === "full" && canAgree(tally, votes))) {
    return { kind: "second-trip", candidates: candidatesOf(votes, quorum) };
  }
  const isHopeful = running.size > 0 && (votes.length + running.size >= quorum || canAgreeOnFailure(tally));
  return isHopeful ? undefined : { kind: "failed", boundary: boundaryOf(tally) };
}

/** The highest block that enough agree on, be it a candidate or one that late endpoints named alike. */
function afterSecondTrip(tally: Tally, candidates: readonly number[], patience: Patience): Outcome | undefined {
  const { votes, running, quorum } = tally;
  const isOpen = (number: number) => canAgree(tally, votesAt(votes, number), number);
  const vote = agreedAmong(votes, quorum);
  if (vote === undefined) {
    const isHopeful = running.size > 0 && candidates.some(isOpen);
    return isHopeful ? undefined : { kind: "failed", boundary: boundaryOf(tally) };
  }
  const { number } = vote.reads.header;
  if (patience === "full" && candidates.some((higher) => higher > number && isOpen(higher))) return undefined;
  if (patience !== "none" && [...running].some(({ at }) => at === undefined) && isBehindItsOwn(votes, vote)) return undefined;
  return { kind: "agreed", vote };
}

/**
 * An endpoint that confirms a block may know a much later one itself. A liar that names an old block while an honest endpoint is
 * slow would so hold back a revocation for as long as blocks count as recent: then the slow one is worth waiting for.
 */
function isBehindItsOwn(votes: readonly Vote[], agreed: Vote): boolean {
  const voters = new Set(votes.filter(({ story }) => story === agreed.story).map(({ voter }) => voter));
  const times = votes.filter(({ voter }) => voters.has(voter)).map(({ reads }) => reads.header.timestamp);
  return Math.max(...times) - agreed.reads.header.timestamp > closeSeconds;
}

function votesAt(votes: readonly Vote[], number: number): Vote[] {
  return votes.filter(({ reads }) => reads.header.number === number);
}

/**
 * Where k endpoints name different blocks: the k-th highest number, and those named below it. A liar that names a block which
 * nobody has would push an honest endpoint out of the first k places; the lowest block of the honest ones is among these anyway.
 */
function candidatesOf(votes: readonly Vote[], quorum: number): number[] {
  const numbers = votes.map(({ reads }) => reads.header.number).sort((a, b) => b - a);
  return [...new Set(numbers.slice(quorum - 1))];
}

function agreedAmong(votes: readonly Vote[], quorum: number): Vote | undefined {
  const [highest] = partiesOf(votes)
    .filter(({ voters }) => voters.size >= quorum)
    .map(({ vote }) => vote)
    .sort((a, b) => b.reads.header.number - a.reads.header.number);
  return highest;
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
