/** A policy that stands in a JSON file instead of in contracts: its schema, and its gates in their order. */
import { z } from "zod";
import { type BootInfoMessage, type BootKind, boundedReason, type Decision } from "./api.ts";
import { type GateRule, traceOf } from "./gates.ts";

/** An answer must stay below what clients read of it. */
const maxGatewayLength = 4096;
const zeroAddress = `0x${"00".repeat(20)}`;

/** Lower case with 0x, as this file format has always compared; neither hex nor a length is asked of an entry. */
function spelling(text: string): string {
  const lower = text.toLowerCase();
  return lower.startsWith("0x") ? lower : `0x${lower}`;
}

const identities = z
  .array(z.string())
  .transform((entries) => new Set(entries.map(spelling)))
  .prefault([]);
const devices = { devices: identities, allowAnyDevice: z.boolean().default(false) };
const appSchema = z.strictObject({ composeHashes: identities, ...devices });
const appsSchema = z.record(z.string(), appSchema).transform((entries, context) => {
  const apps = new Map<string, z.output<typeof appSchema>>();
  for (const [name, app] of Object.entries(entries)) {
    // Two spellings of one app would leave open which of the two rules
    if (apps.has(spelling(name))) context.addIssue({ code: "custom", path: [name], message: "the app is listed twice" });
    apps.set(spelling(name), app);
  }
  return apps;
});

/** A misspelt key would be an empty list that nobody meant: unknown keys make the file unusable. */
export const filePolicySchema = z.strictObject({
  osImages: identities,
  allowedTcbStatuses: z.array(z.string()).default(["UpToDate"]),
  allowedAdvisoryIds: z.array(z.string()).default([]),
  gatewayAppId: z.string().max(maxGatewayLength).default(""),
  kmsContractAddr: z.string().max(maxGatewayLength).default(zeroAddress),
  appImplementation: z.string().max(maxGatewayLength).default(zeroAddress),
  chainId: z.int().nonnegative().default(0),
  kms: z.strictObject({ mrAggregated: identities, ...devices }).prefault({}),
  apps: appsSchema.prefault({}),
});
export type FilePolicy = z.output<typeof filePolicySchema>;

interface FileGate extends GateRule {
  readonly isOpen: (policy: FilePolicy, boot: BootInfoMessage) => boolean;
}

/** What the evidence leaves out is never listed, though an empty entry may stand in the file. */
const isListed = (list: ReadonlySet<string> | ReadonlyMap<string, unknown>, hex: string): boolean =>
  spelling(hex) !== "0x" && list.has(spelling(hex));
const appOf = (policy: FilePolicy, boot: BootInfoMessage) =>
  isListed(policy.apps, boot.appId) ? policy.apps.get(spelling(boot.appId)) : undefined;
/** An empty list allows no device, as on the chain: other readers of this file take it for all of them. */
const isDeviceAllowed = (rule: { devices: ReadonlySet<string>; allowAnyDevice: boolean }, boot: BootInfoMessage): boolean =>
  rule.allowAnyDevice || isListed(rule.devices, boot.deviceId);
const addTo = (list: string, hex: string): string | null => (spelling(hex) === "0x" ? null : `add ${spelling(hex)} to ${list}`);

const shared: readonly FileGate[] = [
  {
    code: "denied.tcb",
    reason: "TCB status is not allowed",
    expected: "a TCB status of allowedTcbStatuses",
    came: (boot) => boot.tcbStatus,
    task: () => null, // a platform that is behind should be updated
    isOpen: (policy, boot) => policy.allowedTcbStatuses.includes(boot.tcbStatus),
  },
  {
    code: "denied.tcb-advisory",
    reason: "advisory ID is not allowed",
    expected: "advisories of allowedAdvisoryIds only",
    came: (boot) => boundedReason(boot.advisoryIds.join(", ")),
    task: () => "add the advisories to allowedAdvisoryIds",
    isOpen: (policy, boot) => boot.advisoryIds.every((id) => policy.allowedAdvisoryIds.includes(id)),
  },
  {
    code: "denied.os-image",
    reason: "OS image is not allowed",
    expected: "an OS image of osImages",
    came: (boot) => spelling(boot.osImageHash),
    task: (boot) => addTo("osImages", boot.osImageHash),
    isOpen: (policy, boot) => isListed(policy.osImages, boot.osImageHash),
  },
];
const device = (reason: string, list: (boot: BootInfoMessage) => string): Omit<FileGate, "isOpen"> => ({
  code: "denied.device",
  reason,
  expected: "a listed device, or allowAnyDevice",
  came: (boot) => spelling(boot.deviceId),
  task: (boot) => addTo(list(boot), boot.deviceId),
});

/** Order and reasons are those that clients of this file format know. */
const gates: Record<BootKind, readonly FileGate[]> = {
  kms: [
    ...shared,
    {
      code: "denied.aggregated-mr",
      reason: "aggregated MR not allowed",
      expected: "an aggregated measurement of kms.mrAggregated",
      came: (boot) => spelling(boot.mrAggregated),
      task: (boot) => addTo("kms.mrAggregated", boot.mrAggregated),
      isOpen: (policy, boot) => isListed(policy.kms.mrAggregated, boot.mrAggregated),
    },
    {
      ...device("KMS is not allowed to boot on this device", () => "kms.devices"),
      isOpen: (policy, boot) => isDeviceAllowed(policy.kms, boot),
    },
  ],
  app: [
    ...shared,
    {
      code: "denied.app-not-registered",
      reason: "app not registered",
      expected: "an app id of apps",
      came: (boot) => spelling(boot.appId),
      task: (boot) => addTo("apps", boot.appId),
      isOpen: (policy, boot) => appOf(policy, boot) !== undefined,
    },
    {
      code: "denied.compose-hash",
      reason: "compose hash not allowed",
      expected: "a compose hash of the app's composeHashes",
      came: (boot) => spelling(boot.composeHash),
      task: (boot) => addTo(`apps.${spelling(boot.appId)}.composeHashes`, boot.composeHash),
      isOpen: (policy, boot) => isListed(appOf(policy, boot)?.composeHashes ?? new Set(), boot.composeHash),
    },
    {
      ...device("app is not allowed to boot on this device", (boot) => `apps.${spelling(boot.appId)}.devices`),
      isOpen: (policy, boot) => {
        const app = appOf(policy, boot);
        return app !== undefined && isDeviceAllowed(app, boot);
      },
    },
  ],
};

/** The first closed gate gives the reason; the gateway id is echoed in every answer, denials included. */
export function decideByFile(policy: FilePolicy, kind: BootKind, boot: BootInfoMessage): Decision {
  const rules = gates[kind];
  const failed = rules.findIndex((rule) => !rule.isOpen(policy, boot));
  const closed = rules[failed];
  return {
    isAllowed: closed === undefined,
    reason: closed?.reason ?? "",
    gatewayAppId: policy.gatewayAppId,
    code: closed?.code ?? "allowed",
    trace: traceOf(rules, boot, closed && failed),
  };
}
