/** Schedules a call that has to wait. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { needPermission } from "../lib/authority.ts";
import { runCommand, usageError } from "../lib/cli.ts";
import { durationText, parseDuration } from "../lib/dates.ts";
import {
  actionOf,
  type CallArguments,
  type Governed,
  isRehearsal,
  openGoverned,
  parseCallData,
} from "../lib/governance-input.ts";
import { carryThrough } from "../lib/governance-report.ts";
import { scheduleRoute } from "../lib/route.ts";

export interface ScheduleArguments extends CallArguments {
  readonly delay: string | undefined;
  readonly dryRun: boolean;
  readonly json: boolean;
}

export default function governanceSchedule(input: ScheduleArguments, hre: HardhatRuntimeEnvironment): Promise<void> {
  return runCommand(input, async () => {
    const data = parseCallData(input);
    const delay = input.delay === undefined ? undefined : parseDuration(input.delay, "--delay");
    return schedule(await openGoverned(hre, input), { data, delay, dryRun: isRehearsal(input) });
  });
}

export interface ScheduleInput {
  readonly data: `0x${string}`;
  readonly delay: number | undefined;
  readonly dryRun: boolean;
}

export async function schedule(governed: Governed, { data, delay, dryRun }: ScheduleInput) {
  const { session, target } = governed;
  const action = actionOf(governed, { target, data });
  const permission = await needPermission(session, action);
  if (permission.delaySeconds === 0) {
    throw usageError(
      `the call has no delay for its ${permission.role}`,
      "make it at once: ./run hardhat governance execute with the same call",
    );
  }
  if (delay !== undefined && delay < permission.delaySeconds) {
    throw usageError(
      `--delay: need at least ${durationText(permission.delaySeconds)}, have ${durationText(delay)}`,
      `the delay is ${permission.role}'s; leave --delay out to wait no longer than that`,
    );
  }
  const route = await scheduleRoute(session, action, permission, delay ?? permission.delaySeconds);
  return carryThrough(session, "governance schedule", { action, route, done: "scheduled" }, { dryRun });
}
