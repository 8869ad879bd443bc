/** Times and durations of the command line. */
import { expect, test } from "vitest";
import { durationText, parseDuration, parseUntil, timeText } from "../../scripts/lib/dates.ts";

test.each([
  ["2027-01-31", "2027-01-31T23:59:59Z"],
  ["2028-02-29", "2028-02-29T23:59:59Z"],
  ["1801439999", "2027-01-31T23:59:59Z"],
])("%s lasts until %s", (text, time) => {
  expect(timeText(parseUntil(text, "--until"))).toBe(time);
});

test.each(["1801439999000", "2027-02-29", "2027-1-31", "2027-01-31T00:00:00Z", "", "-1", "tomorrow"])(
  "refuses the date '%s'",
  (text) => {
    expect(() => parseUntil(text, "--until")).toThrowError(expect.objectContaining({ code: "malformed.usage" }));
  },
);

test.each([
  ["2d", 172_800, "2 d"],
  ["36h", 129_600, "1 d 12 h"],
  ["90m", 5400, "1 h 30 min"],
  ["600s", 600, "10 min"],
  ["0s", 0, "0 s"],
])("%s are %i seconds, told as %s", (text, seconds, told) => {
  expect(parseDuration(text, "--delay")).toBe(seconds);
  expect(durationText(seconds)).toBe(told);
});

test.each(["2", "2w", "-2d", "1.5d", "50000d", ""])("refuses the duration '%s'", (text) => {
  expect(() => parseDuration(text, "--delay")).toThrowError(expect.objectContaining({ code: "malformed.usage" }));
});
