/** The `governance` tasks: their names, arguments and help. */
import { emptyTask, task } from "hardhat/config";
import type { TaskDefinition } from "hardhat/types/tasks";
import { dryRun, json, kmsAuth, text } from "./options.ts";

const target = text("target", "The contract to call, or its access manager (default: the environment's KMS_CONTRACT_ADDR)");
const call = text("call", "The call as in Solidity, as in 'addOsImageHash(0x…)'");
const data = text("data", "The call's bytes in hex instead");
const from = text("from", "An account whose key is elsewhere, as a Safe: show its transaction, send nothing");
const fromBlock = text("fromBlock", "Read operations from this block on (default: about four weeks of blocks)");
const operation = { name: "operation", description: "Id of the operation, or --call", defaultValue: "" } as const;

export const governanceTasks: TaskDefinition[] = [
  emptyTask("governance", "Govern through an access manager: additions wait, removals do not").build(),
  task(["governance", "hand-over"], "Hand a KMS trust domain over to an access manager")
    .addOption(kmsAuth)
    .addOption(text("curator", "Who adds, sets and registers"))
    .addOption(text("upgrader", "Who replaces code, moves ownership and does all the rest"))
    .addOption(text("guardian", "Who removes, suspends, pauses and cancels, at once"))
    .addOption(text("operator", "Who ends a pause or a suspension"))
    .addOption(text("admin", "Who grants and takes roles"))
    .addOption(text("curatorDelay", "How long the curator's calls wait, as in 36h (default: 2d)"))
    .addOption(text("upgraderDelay", "How long the upgrader's calls wait (default: 7d)"))
    .addOption(text("operatorDelay", "How long the operator's calls wait (default: 1d)"))
    .addOption(text("adminDelay", "How long the admin's calls wait (default: the upgrader's)"))
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./governance-hand-over.ts"))
    .build(),
  task(["governance", "schedule"], "Schedule a call that has to wait")
    .addOption(call)
    .addOption(data)
    .addOption(target)
    .addOption(from)
    .addOption(text("delay", "Wait longer than the role's delay, as in 3d"))
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./governance-schedule.ts"))
    .build(),
  task(["governance", "execute"], "Execute an operation whose time has come, or at once a call without a delay")
    .addPositionalArgument(operation)
    .addOption(call)
    .addOption(data)
    .addOption(target)
    .addOption(from)
    .addOption(fromBlock)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./governance-execute.ts"))
    .build(),
  task(["governance", "cancel"], "Cancel a scheduled operation")
    .addPositionalArgument(operation)
    .addOption(call)
    .addOption(data)
    .addOption(target)
    .addOption(from)
    .addOption(fromBlock)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./governance-cancel.ts"))
    .build(),
  task(["governance", "list"], "List the operations that are scheduled")
    .addOption(target)
    .addOption(fromBlock)
    .addFlag(json)
    .setAction(() => import("./governance-list.ts"))
    .build(),
];
