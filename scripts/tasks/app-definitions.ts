/** The `app` tasks: their names, arguments and help. */
import { emptyTask, task } from "hardhat/config";
import type { TaskDefinition } from "hardhat/types/tasks";
import { app, dryRun, implementation, json, kmsAuth, knownEntry, schedule, text } from "./options.ts";

type AppListAction = () => Promise<{ default: ReturnType<typeof import("../lib/allow-list.ts").appListAction> }>;

function appListTask(name: string, description: string, action: AppListAction): TaskDefinition {
  return task(["app", name], description)
    .addPositionalArgument({ name: "value", description: "Compose hash: 32 bytes of hex" })
    .addOption(app)
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
];
