/** The count behind a quorum, step by step and for any course of events: it ends, and only what enough voters said is agreed. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Boundary } from "../../auth-eth/api.ts";
import { outcomeOf, type Patience, storyOf, type Tally, type Trip, type Vote } from "../../auth-eth/tally.ts";

function vote(voter: number, number: number, fork = "a"): Vote {
  const header = { number, hash: fork, parentHash: fork, timestamp: number };
  const reads = { chainId: 1, header, results: [], isAnchored: true };
  return { voter, reads, story: storyOf(reads) };
}
const first = (...voters: number[]): Set<Trip> => new Set(voters.map((voter) => ({ voter, at: undefined })));
const failure = (voter: number, boundary: Boundary) => ({ voter, boundary });
function tally(parts: Partial<Tally>): Tally {
  return { quorum: 2, votes: [], failures: [], running: new Set(), candidates: undefined, ...parts };
}
/** As text: agreed on which block, asked again at which, failed with what, or waiting. */
function outcome(parts: Partial<Tally>, patience: Patience = "full"): string {
  const result = outcomeOf(tally(parts), patience);
  if (result === undefined) return "wait";
  if (result.kind === "agreed") return `agreed ${result.vote.reads.header.number}`;
  return result.kind === "failed" ? `failed ${result.boundary}` : `again at ${result.candidates.join()}`;
}

test("the first trip", () => {
  expect(outcome({ votes: [vote(0, 9)], running: first(1, 2) })).toBe("wait");
  expect(outcome({ votes: [vote(0, 9), vote(1, 9)], running: first(2) })).toBe("agreed 9");
  const apart = [vote(0, 9), vote(1, 8)];
  expect(outcome({ votes: apart, running: first(2) })).toBe("wait");
  expect(outcome({ votes: apart, running: first(2) }, "short")).toBe("again at 8");
  expect(outcome({ votes: apart, failures: [failure(2, "rpc-status")] })).toBe("again at 8");
  expect(outcome({ votes: [...apart, vote(2, 1_000)] })).toBe("again at 9,8");
  expect(outcome({ votes: [vote(0, 9), vote(1, 9, "b")] })).toBe("again at 9");
});

test("the second trip takes the highest block that enough can have", () => {
  const candidates = [9, 8];
  const votes = [vote(0, 9), vote(1, 8), vote(2, 1_000)];
  const at = (...trips: [voter: number, at: number][]) => new Set(trips.map(([voter, number]) => ({ voter, at: number })));
  expect(outcome({ candidates, votes, running: at([0, 9], [1, 9], [2, 9], [0, 8]) })).toBe("wait");
  const lower = [...votes, vote(0, 8)];
  expect(outcome({ candidates, votes: lower, running: at([1, 9]) })).toBe("wait"); // the first could yet be followed
  expect(outcome({ candidates, votes: lower, running: at([1, 9]) }, "short")).toBe("agreed 8");
  expect(outcome({ candidates, votes: lower })).toBe("agreed 8");
  expect(outcome({ candidates, votes: [...lower, vote(1, 9)] })).toBe("agreed 9");
  expect(outcome({ candidates, votes, running: first(2) })).toBe("wait");
  expect(outcome({ candidates, votes })).toBe("failed quorum");
  expect(outcome({ candidates: [8], votes: [vote(0, 9), vote(1, 8), vote(2, 9)] })).toBe("agreed 9"); // came late, agrees with the first
});

test("a block well behind what its voters know waits for those who have not spoken", () => {
  const candidates = [50];
  const votes = [vote(0, 100), vote(1, 50), vote(0, 50)]; // times are the numbers here
  for (const patience of ["full", "short"] as const)
    expect(outcome({ candidates, votes, running: first(2) }, patience)).toBe("wait");
  expect(outcome({ candidates, votes, running: first(2) }, "none")).toBe("agreed 50");
  expect(outcome({ candidates, votes })).toBe("agreed 50");
  expect(outcome({ candidates, votes: [...votes, vote(2, 100)] })).toBe("agreed 100");
  const close = [vote(0, 100), vote(1, 85), vote(0, 85)];
  expect(outcome({ candidates: [85], votes: close, running: first(2) })).toBe("agreed 85");
  const boast = [vote(0, 100), vote(1, 99), vote(0, 99), vote(2, 1_000)]; // of another's words nobody is afraid
  expect(outcome({ candidates: [100, 99], votes: boast, running: first(3) }, "short")).toBe("agreed 99");
});

test("one voter counts once, however often it says the same", () => {
  expect(outcome({ candidates: [9], votes: [vote(0, 9), vote(0, 9), vote(1, 9, "b")] })).toBe("failed quorum");
});

test.each<[string, number, Vote[], Boundary[]]>([
  ["rpc-network", 1, [], ["rpc-network"]],
  ["stale", 1, [], ["stale"]],
  ["no-contract", 2, [vote(2, 9)], ["no-contract", "no-contract"]],
  ["quorum", 2, [vote(2, 9)], ["no-contract", "stale"]],
  ["quorum", 3, [vote(2, 9)], ["rpc-garbage", "stale"]],
  ["rpc-timeout", 2, [vote(2, 9)], ["rpc-timeout", "rpc-timeout"]],
  ["rpc-status", 2, [vote(2, 9)], ["rpc-timeout", "rpc-status"]],
  ["rpc-network", 2, [], ["rpc-timeout", "rpc-network", "stale"]],
  ["rpc-timeout", 2, [], ["rpc-timeout", "rpc-network", "rpc-timeout"]],
  ["rpc-error", 3, [vote(2, 9)], ["stale", "rpc-error"]],
])("fails with %s when %i must agree", (boundary, quorum, votes, boundaries) => {
  const failures = boundaries.map((each, voter) => failure(voter, each));
  expect(outcome({ quorum, votes, failures })).toBe(`failed ${boundary}`);
});

test("does not wait for those who cannot change it", () => {
  expect(outcome({ failures: [failure(0, "rpc-status"), failure(1, "rpc-network")], running: first(2) })).toBe(
    "failed rpc-status",
  );
  expect(outcome({ quorum: 3, votes: [vote(0, 9)], failures: [failure(1, "chain-id")], running: first(2) })).toBe(
    "failed quorum",
  );
  expect(outcome({ failures: [failure(0, "chain-id")], running: first(1) })).toBe("wait"); // it may say so too
});

test("whatever comes, it ends, with what enough voters said or with none", () => {
  const said = fc.option(fc.tuple(fc.integer({ min: 5, max: 9 }), fc.constantFrom("a", "b")));
  const scene = fc.record({
    quorum: fc.integer({ min: 1, max: 4 }),
    firsts: fc.array(said, { minLength: 4, maxLength: 4 }),
    seconds: fc.array(fc.array(said, { maxLength: 3 }), { minLength: 4, maxLength: 4 }),
  });
  fc.assert(
    fc.property(scene, ({ quorum, firsts, seconds }) => {
      const votes = firsts.flatMap((told, voter) => (told ? [vote(voter, ...told)] : []));
      const failures = firsts.flatMap((told, voter) => (told ? [] : [failure(voter, "rpc-status" as const)]));
      const result = outcomeOf(tally({ quorum, votes, failures }), "full");
      expect(result).toBeDefined();
      const again = seconds.flatMap((each, voter) =>
        each.flatMap((told) => (told && firsts[voter] ? [vote(voter, ...told)] : [])),
      );
      const all = result?.kind === "second-trip" ? [...votes, ...again] : votes;
      const end =
        result?.kind === "second-trip"
          ? outcomeOf(tally({ quorum, votes: all, failures, candidates: result.candidates }), "full")
          : result;
      expect(end?.kind).toMatch(/agreed|failed/);
      if (end?.kind !== "agreed") return;
      const { story } = end.vote;
      expect(new Set(all.filter((each) => each.story === story).map(({ voter }) => voter)).size).toBeGreaterThanOrEqual(quorum);
    }),
  );
});
