/** Plans of TCB policy: statuses accepted until a date, and the advisories that may come with them. */
import { usageError } from "./cli.ts";
import { parseUntil, timeText } from "./dates.ts";
import type { Plan } from "./owner-change.ts";

/** The contracts' limit. */
const maxBytes = 64;

export function acceptTcbPlan(status: string, until: string | undefined): Plan {
  const tcbStatus = parseVendorText(status, "the TCB status");
  if (until === undefined) throw usageError("the date is not given", "pass --until 2027-01-31: the end of that day, UTC");
  const date = parseUntil(until, "--until");
  return { ...tcbPlan(tcbStatus), functionName: "acceptTcbStatus", args: [tcbStatus, date], after: () => date };
}

export function withdrawTcbPlan(status: string): Plan {
  const tcbStatus = parseVendorText(status, "the TCB status");
  return { ...tcbPlan(tcbStatus), functionName: "withdrawTcbStatus", args: [tcbStatus], after: () => 0n };
}

function tcbPlan(tcbStatus: string) {
  return {
    getter: "tcbStatusAcceptedUntil",
    getterArgs: [tcbStatus],
    what: `TCB status ${tcbStatus} accepted until`,
    noOp: "already so",
    shown: (value: unknown) => (typeof value === "bigint" && value > 0n ? timeText(value) : "never"),
  };
}

export function advisoryPlan(advisory: string, accepted: boolean): Plan {
  const args = [parseVendorText(advisory, "the advisory")];
  return {
    getter: "acceptedAdvisories",
    getterArgs: args,
    functionName: accepted ? "acceptAdvisory" : "withdrawAdvisory",
    args,
    what: `advisory ${args[0]} accepted`,
    after: () => accepted,
    noOp: accepted ? "already accepted" : "not accepted",
  };
}

/** Compared byte by byte on the chain: a space that nobody sees would make it match nothing. */
function parseVendorText(text: string, what: string): string {
  if (/^[\x21-\x7e]+$/.test(text) && text.length <= maxBytes) return text;
  throw usageError(
    `${what}: need 1 to ${maxBytes} printable characters without spaces`,
    "the vendor's own words, as in SWHardeningNeeded or INTEL-SA-00837",
  );
}
