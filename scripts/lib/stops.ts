/** Plans of the stops: pausing a trust domain, suspending an app, and what an app's owner can never take back. */
import type { Plan } from "./owner-change.ts";
import { parseAddress } from "./values.ts";

export function pausePlan(paused: boolean): Plan {
  return {
    getter: "paused",
    functionName: paused ? "pause" : "unpause",
    what: "all answers stopped",
    after: () => paused,
    noOp: paused ? "already paused" : "not paused",
  };
}

export function suspensionPlan(appId: string, suspended: boolean): Plan {
  const args = [parseAddress(appId, "the app id", "the address of the app's contract")];
  return {
    getter: "suspendedApps",
    getterArgs: args,
    functionName: suspended ? "suspendApp" : "reinstateApp",
    args,
    what: `app ${args[0]} suspended`,
    after: () => suspended,
    noOp: suspended ? "already suspended" : "not suspended",
  };
}

const forEver = ["there is no way back"];

export const freezePlan: Plan = {
  getter: "policyFrozen",
  functionName: "freezePolicy",
  what: "lists, rules and acceptances frozen",
  after: () => true,
  noOp: "already frozen",
  notes: forEver,
};

export const disableUpgradesPlan: Plan = {
  getter: "upgradesDisabled",
  functionName: "disableUpgrades",
  what: "upgrades disabled",
  after: () => true,
  noOp: "already disabled",
  notes: forEver,
};
