/** The `app` tasks: their names, arguments and help. */
import { emptyTask, task } from "hardhat/config";
import type { TaskDefinition } from "hardhat/types/tasks";
import { app, dryRun, implementation, json, kmsAuth, knownEntry, schedule, text } from "./options.ts";

type AppListAction = () => Promise<{ default: ReturnType<typeof import("../lib/allow-list.ts").appListAction> }>;

function appListTask(name: string, description: string, action: AppListAction): TaskDefinition {
  return task(["app", name], description)
    .addPositionalArgument({ name: "value", description: "Compose hash: 32 bytes of hex" })
    .addOption(app)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(action)
    .build();
}

export const appTasks: TaskDefinition[] = [
  emptyTask("app", "Govern an app").build(),
  task(["app", "create"], "Create an app contract; its address is the app id")
    .addOption(kmsAuth)
    .addOption(text("owner", "Owner of the app (default: the sender)"))
    .addOption(text("composeHash", "A compose hash to allow from the start"))
    .addOption(text("device", "A device to allow from the start"))
    .addOption(text("salt", "32 bytes of hex: the app id then follows from the settings and this value"))
    .addFlag({ name: "allowAnyDevice", description: "Let the app run on any device" })
    .addFlag({ name: "requireTcbUpToDate", description: "Refuse platforms that are out of date" })
    .addFlag({ name: "disableUpgrades", description: "Fix the contract's code for ever" })
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./app-create.ts"))
    .build(),
  appListTask("allow-compose", "Allow a compose hash of an app", () => import("./app-allow-compose.ts")),
  appListTask("revoke-compose", "Disallow a compose hash of an app", () => import("./app-revoke-compose.ts")),
  task(["app", "upgrade"], "Upgrade an app's proxy, after its storage was compared with what its code answers")
    .addOption(app)
    .addOption(implementation)
    .addOption(knownEntry)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./app-upgrade.ts"))
    .build(),
  task(["app", "replace-compose"], "Exchange one compose hash for another in one step")
    .addPositionalArgument({ name: "oldValue", description: "Compose hash that is listed" })
    .addPositionalArgument({ name: "newValue", description: "Compose hash that takes its place" })
    .addOption(app)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./app-replace-compose.ts"))
    .build(),
  task(["app", "accept-tcb"], "Accept a TCB status of an app until a date")
    .addPositionalArgument({ name: "status", description: "The vendor's word, as in SWHardeningNeeded" })
    .addOption(text("until", "Last day in UTC, as in 2027-01-31, or Unix seconds"))
    .addOption(app)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./app-accept-tcb.ts"))
    .build(),
  task(["app", "withdraw-tcb"], "Take the acceptance of a TCB status back")
    .addPositionalArgument({ name: "status", description: "The vendor's word, as in SWHardeningNeeded" })
    .addOption(app)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./app-withdraw-tcb.ts"))
    .build(),
  task(["app", "accept-advisory"], "Accept an advisory beside an accepted TCB status")
    .addPositionalArgument({ name: "advisory", description: "The vendor's id, as in INTEL-SA-00837" })
    .addOption(app)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./app-accept-advisory.ts"))
    .build(),
  task(["app", "withdraw-advisory"], "Take the acceptance of an advisory back")
    .addPositionalArgument({ name: "advisory", description: "The vendor's id, as in INTEL-SA-00837" })
    .addOption(app)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./app-withdraw-advisory.ts"))
    .build(),
  task(["app", "freeze"], "Freeze lists, rules and acceptances of an app for good")
    .addOption(app)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./app-freeze.ts"))
    .build(),
  task(["app", "disable-upgrades"], "Fix the code of an app for good")
    .addOption(app)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./app-disable-upgrades.ts"))
    .build(),
  task(["app", "harden"], "Show the switches of strict mode, or set them")
    .addOption(text("on", "Switches to turn on, separated by commas, or all"))
    .addOption(text("off", "Switches to turn off"))
    .addOption(app)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./app-harden.ts"))
    .build(),
];
