/** The bench's arithmetic: medians of rounds, ratios within a round, targets that are named and never enforced. */
import { expect, test } from "vitest";
import type { ContenderName } from "../../bench/auth-contenders.ts";
import { median, ratios, reportOf, textOf } from "../../bench/auth-report.ts";
import type { Series } from "../../bench/auth-rounds.ts";

const series = (contender: ContenderName, latencyMs: number, connections: number, ...perSecond: number[]): Series => ({
  contender,
  latencyMs,
  connections,
  turns: perSecond.map((rate) => ({ requests: rate, perSecond: rate, p50Ms: 1000 / rate, p99Ms: 9, cpuMicroseconds: 50 })),
});
const busy = { latencyMs: 0, connections: 32 };
const perSecond = (turn: { perSecond: number }) => turn.perSecond;

test.each([
  [[3, 1, 2], 2],
  [[4, 1, 3, 2], 2.5],
  [[7], 7],
  [[], Number.NaN],
])("the median of %o is %d", (values, middle) => expect(median(values)).toBe(middle));

test("a round that was disturbed as a whole does not move a ratio", () => {
  const all = [series("webhook", 0, 32, 2000, 200, 2000), series("bare eth_call", 0, 32, 10_000, 1000, 10_000)];
  expect(median(ratios(all, busy, perSecond, "webhook", "bare eth_call"))).toBeCloseTo(0.2);
});

test("names each target that the run can tell, met or not, and no other", () => {
  const all = [
    series("bare eth_call", 0, 32, 10_000),
    series("three trips, viem", 0, 32, 1000),
    series("webhook", 0, 32, 2500),
    series("bare eth_call", 30, 1, 30),
    series("webhook", 30, 1, 20),
  ];
  const memory = { requests: 1000, residentMiB: [100, 120, 120, 121] };
  const { targets } = reportOf({ series: all, memory, revocation: undefined }, "a machine");
  expect(targets.map(({ came, isMet }) => [Number(came.toFixed(2)), isMet])).toEqual([
    [1.5, false],
    [0.25, true],
    [2.5, false],
    [2500, true],
    [121, true],
    [1.01, true],
  ]);
  expect(reportOf({ series: all.slice(3, 4), memory: undefined, revocation: undefined }, "").targets).toHaveLength(1);
});

test("prints what each round said beside its median, which the medians of the rows need not divide to", () => {
  const all = [series("bare eth_call", 30, 1, 10, 40, 20), series("webhook", 30, 1, 10, 20, 40)];
  const report = reportOf({ series: all, memory: undefined, revocation: undefined }, "");
  expect(report.rows.map((row) => row.perSecond)).toEqual([20, 20]);
  expect(textOf(report).split("\n").at(-1)).toBe(
    "met      p50 to the bare call's, 30 ms, 1 connection: 1.00 (its rounds: 1.00 2.00 0.50), at most 1.25 wanted",
  );
});

test("prints a line for every figure and target", () => {
  const rounds = [
    { block: 1, headToRefusalMs: 4, decisions: 20, allowed: 0 },
    { block: 2, headToRefusalMs: 6, decisions: 21, allowed: 1 },
  ];
  const all = [series("bare eth_call", 30, 1, 30), series("webhook", 30, 1, 28)];
  const text = textOf(reportOf({ series: all, memory: undefined, revocation: { blockMs: 250, rounds } }, "a machine"));
  expect(text.split("\n")).toEqual([
    "a machine",
    "",
    expect.stringMatching(/^RPC latency 30 ms, 1 connection +a second +p50 ms +p99 ms +CPU µs each$/),
    expect.stringMatching(/^ {2}bare eth_call +30 +33\.33 +9\.00 +50$/),
    expect.stringMatching(/^ {2}webhook +28 +35\.71 +9\.00 +50$/),
    "",
    "revocation: 2 rounds, a block each 250 ms",
    "  head to first refusal: median 5.0 ms, longest 6.0 ms",
    "  decisions started after the head: 41, of which allowed: 1",
    "",
    "met      p50 to the bare call's, 30 ms, 1 connection: 1.07, at most 1.25 wanted",
  ]);
});
