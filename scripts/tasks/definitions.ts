/** The operator commands as Hardhat tasks: their names, arguments and help. The actions load only when they run. */
import { emptyTask, task } from "hardhat/config";
import { ArgumentType } from "hardhat/types/arguments";
import type { TaskDefinition } from "hardhat/types/tasks";

const dryRun = { name: "dryRun", description: "Show sender, call and decoded change; send nothing" } as const;
const json = { name: "json", description: "One JSON document on stdout" } as const;
const text = <const N extends string>(name: N, description: string) => ({
  name,
  description,
  type: ArgumentType.STRING_WITHOUT_DEFAULT as const,
  defaultValue: undefined,
});
const kmsAuth = text("kmsAuth", "Address of the KmsAuth proxy (default: the environment's KMS_CONTRACT_ADDR)");
const app = text("app", "Address of the app contract: the app id with 0x");

type KmsListAction = () => Promise<{ default: ReturnType<typeof import("../lib/allow-list.ts").kmsListAction> }>;
type AppListAction = () => Promise<{ default: ReturnType<typeof import("../lib/allow-list.ts").appListAction> }>;

function kmsListTask(name: string, description: string, value: string, action: KmsListAction): TaskDefinition {
  return task(["kms", name], description)
    .addPositionalArgument({ name: "value", description: `${value}: 32 bytes of hex`, defaultValue: "" })
    .addOption(text("fromKms", "Take the value that the KMS in onboard mode at this URL says of itself"))
    .addOption(kmsAuth)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(action)
    .build();
}

function appListTask(name: string, description: string, action: AppListAction): TaskDefinition {
  return task(["app", name], description)
    .addPositionalArgument({ name: "value", description: "Compose hash: 32 bytes of hex" })
    .addOption(app)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(action)
    .build();
}

const kmsTasks: TaskDefinition[] = [
  emptyTask("kms", "Govern a KMS trust domain").build(),
  kmsListTask("add-mr", "Allow a KMS measurement", "Aggregated measurement", () => import("./kms-add-mr.ts")),
  kmsListTask("remove-mr", "Disallow a KMS measurement", "Aggregated measurement", () => import("./kms-remove-mr.ts")),
  kmsListTask("add-device", "Allow a KMS device", "Device id", () => import("./kms-add-device.ts")),
  kmsListTask("remove-device", "Disallow a KMS device", "Device id", () => import("./kms-remove-device.ts")),
  kmsListTask("add-image", "Allow an OS image", "OS image hash", () => import("./kms-add-image.ts")),
  kmsListTask("remove-image", "Disallow an OS image", "OS image hash", () => import("./kms-remove-image.ts")),
  task(["kms", "register"], "Verify and publish the root keys of a bootstrapped KMS")
    .addOption(text("bootstrapInfo", "The KMS's bootstrap-info.json"))
    .addOption(text("root", "Trust anchor of the evidence, DER or PEM (default: Intel's SGX root CA)"))
    .addOption(text("pccs", "URL of the service that serves collateral"))
    .addOption(text("collateral", "Collateral from a file instead"))
    .addOption(text("vmConfig", "VM configuration for evidence that carries none"))
    .addOption(kmsAuth)
    .addFlag({ name: "replace", description: "Replace other root keys that are registered" })
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-register.ts"))
    .build(),
];

const appTasks: TaskDefinition[] = [
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
];

export const operatorTasks: TaskDefinition[] = [...kmsTasks, ...appTasks];
