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
    .addFlag(schedule)
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
    .addFlag(schedule)
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
  task(["kms", "pause"], "Stop all answers, to apps and KMS nodes")
    .addOption(kmsAuth)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-pause.ts"))
    .build(),
  task(["kms", "unpause"], "Answer again")
    .addOption(kmsAuth)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-unpause.ts"))
    .build(),
  task(["kms", "suspend-app"], "Deny an app its keys")
    .addPositionalArgument({ name: "appId", description: "Address of the app's contract" })
    .addOption(kmsAuth)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-suspend-app.ts"))
    .build(),
  task(["kms", "reinstate-app"], "End the suspension of an app")
    .addPositionalArgument({ name: "appId", description: "Address of the app's contract" })
    .addOption(kmsAuth)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-reinstate-app.ts"))
    .build(),
  task(["kms", "accept-tcb"], "Accept a TCB status of KMS nodes until a date")
    .addPositionalArgument({ name: "status", description: "The vendor's word, as in SWHardeningNeeded" })
    .addOption(text("until", "Last day in UTC, as in 2027-01-31, or Unix seconds"))
    .addOption(kmsAuth)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-accept-tcb.ts"))
    .build(),
  task(["kms", "withdraw-tcb"], "Take the acceptance of a TCB status back")
    .addPositionalArgument({ name: "status", description: "The vendor's word, as in SWHardeningNeeded" })
    .addOption(kmsAuth)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-withdraw-tcb.ts"))
    .build(),
  task(["kms", "accept-advisory"], "Accept an advisory beside an accepted TCB status")
    .addPositionalArgument({ name: "advisory", description: "The vendor's id, as in INTEL-SA-00837" })
    .addOption(kmsAuth)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-accept-advisory.ts"))
    .build(),
  task(["kms", "withdraw-advisory"], "Take the acceptance of an advisory back")
    .addPositionalArgument({ name: "advisory", description: "The vendor's id, as in INTEL-SA-00837" })
    .addOption(kmsAuth)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-withdraw-advisory.ts"))
    .build(),
  task(["kms", "set-verifier"], "Set the verifier that must accept evidence for root keys")
    .addPositionalArgument({ name: "verifier", description: "The verifier's address, or none" })
    .addOption(kmsAuth)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-set-verifier.ts"))
    .build(),
  task(["kms", "harden"], "Show the switches of strict mode, or set them")
    .addOption(text("on", "Switches to turn on, separated by commas, or all"))
    .addOption(text("off", "Switches to turn off"))
    .addOption(kmsAuth)
    .addFlag(schedule)
    .addFlag(dryRun)
    .addFlag(json)
    .setAction(() => import("./kms-harden.ts"))
    .build(),
];
