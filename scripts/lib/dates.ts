/** Times and durations on the command line: dates that mean one second, durations with their unit, time left in words. */
import { usageError } from "./cli.ts";

const daySeconds = 86_400;
/** Seconds of a date have ten digits until the year 2286: more are milliseconds. */
const maxSeconds = 9_999_999_999;

/** The last second of a day in UTC, or Unix seconds. */
export function parseUntil(text: string, what: string): bigint {
  if (/^\d{1,20}$/.test(text)) {
    const seconds = BigInt(text);
    if (seconds <= BigInt(maxSeconds)) return seconds;
    throw usageError(`${what}: need seconds, have ${text.length} digits`, "milliseconds? a date such as 2027-01-31 is safer");
  }
  const midnight = /^\d{4}-\d{2}-\d{2}$/.test(text) ? new Date(`${text}T00:00:00Z`) : undefined;
  // JavaScript takes the 31st of February for the 3rd of March
  if (midnight === undefined || Number.isNaN(midnight.getTime()) || midnight.toISOString().slice(0, 10) !== text) {
    throw usageError(`${what}: need a date of the calendar or Unix seconds`, "2027-01-31 means the end of that day, UTC");
  }
  return BigInt(midnight.getTime() / 1000 + daySeconds - 1);
}

const units = new Map([
  ["s", 1],
  ["m", 60],
  ["h", 3600],
  ["d", daySeconds],
]);

/** Seconds of `7d`, `36h`, `90m` or `600s`; the unit is a must, so that nobody means days and gets seconds. */
export function parseDuration(text: string, what: string): number {
  const [, digits, unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const seconds = Number(digits) * (units.get(unit) ?? Number.NaN);
  if (!(seconds <= 0xffff_ffff)) {
    throw usageError(`${what}: need a duration with its unit, such as 2d, 36h, 90m or 600s`, "delays are at most 49710 days");
  }
  return seconds;
}

/** Two units are enough to plan by: `6 d 23 h`. */
export function durationText(seconds: number): string {
  const parts = (
    [
      ["d", daySeconds],
      ["h", 3600],
      ["min", 60],
      ["s", 1],
    ] as const
  ).map(([unit, size], index, all) => {
    const larger = all[index - 1]?.[1];
    const rest = larger === undefined ? seconds : seconds % larger;
    return { unit, count: Math.floor(rest / size) };
  });
  const first = parts.findIndex(({ count }) => count > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(({ count }) => count > 0)
    .map(({ unit, count }) => `${count} ${unit}`)
    .join(" ");
}

export function timeText(seconds: number | bigint): string {
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}Z`;
}
