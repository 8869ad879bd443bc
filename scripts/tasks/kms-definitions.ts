/** The `kms` tasks: their names, arguments and help. */
import { emptyTask, task } from "hardhat/config";
import type { TaskDefinition } from "hardhat/types/tasks";
import { dryRun, implementation, json, kmsAuth, knownEntry, schedule, text } from "./options.ts";

type KmsListAction = () => Promise<{ default: ReturnType<typeof import("../lib/allow-list.ts").kmsListAction> }>;

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

export const kmsTasks: TaskDefinition[] = [
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
  task(["kms", "upgrade"], "Upgrade the KmsAuth proxy, after its storage was compared with what its code answers")
    .addOption(kmsAuth)
    .addOption(implementation)
    .addOption(knownEntry)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-upgrade.ts"))
    .build(),
];
