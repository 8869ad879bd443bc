/** Explains a decision: the code of its reason, and the contract's gates in their order with the task that would open each. */
import { type BootInfoMessage, type BootKind, boundedReason, type DenialCode, type Gate } from "./api.ts";

/** One gate of a policy, whoever keeps it. */
export interface GateRule {
  readonly code: DenialCode;
  /** The policy's exact words when this gate fails; the first rule of a reason owns it. */
  readonly reason: string;
  readonly expected: string;
  readonly came: (boot: BootInfoMessage) => string;
  /** What an owner would do, a command where there is one; null where the machine must change or only a transaction helps. */
  readonly task: (boot: BootInfoMessage) => string | null;
}

const prefixed = (hex: string): string => (hex === "" || hex.startsWith("0x") ? hex : `0x${hex}`);

const paused: GateRule = {
  code: "denied.paused",
  reason: "KMS is paused",
  expected: "a KmsAuth that is not paused",
  came: () => "",
  task: () => "kms unpause",
};
/** No task: a platform that is behind should be updated; accepting it is for the owner to think of. */
const tcb = (expected: string): GateRule => ({
  code: "denied.tcb",
  reason: "TCB status is not up to date",
  expected,
  came: (boot) => boot.tcbStatus,
  task: () => null,
});
const tcbAdvisory = (task: (boot: BootInfoMessage) => string): GateRule => ({
  code: "denied.tcb-advisory",
  reason: "TCB advisory is not accepted",
  expected: "accepted advisories only, beside an accepted TCB status",
  came: (boot) => boundedReason(boot.advisoryIds.join(", ")),
  task,
});
const osImage: GateRule = {
  code: "denied.os-image",
  reason: "OS image is not allowed",
  expected: "an OS image that KmsAuth lists",
  came: (boot) => prefixed(boot.osImageHash),
  task: (boot) => unlessAbsent(boot.osImageHash, (hash) => `kms add-image ${hash}`),
};
/** No task: only other code behind the app id helps. */
const appContract = (code: DenialCode, reason: string, expected: string): GateRule => ({
  code,
  reason,
  expected,
  came: (boot) => prefixed(boot.appId),
  task: () => null,
});

const rules: Record<BootKind, readonly GateRule[]> = {
  kms: [
    paused,
    tcb("UpToDate, or a TCB status that KmsAuth accepts"),
    tcbAdvisory((boot) => `kms accept-advisory ${advisory(boot)}`),
    osImage,
    {
      code: "denied.aggregated-mr",
      reason: "Aggregated MR not allowed",
      expected: "an aggregated measurement that KmsAuth lists",
      came: (boot) => prefixed(boot.mrAggregated),
      task: (boot) => `kms add-mr ${prefixed(boot.mrAggregated)}`,
    },
    {
      code: "denied.device",
      reason: "KMS is not allowed to boot on this device",
      expected: "a device that KmsAuth lists",
      came: (boot) => prefixed(boot.deviceId),
      task: (boot) => `kms add-device ${prefixed(boot.deviceId)}`,
    },
  ],
  app: [
    paused,
    {
      code: "denied.app-not-registered",
      reason: "App not registered",
      expected: "an app id that KmsAuth has registered",
      came: (boot) => prefixed(boot.appId),
      task: () => "app create",
    },
    {
      code: "denied.app-suspended",
      reason: "App is suspended",
      expected: "an app that KmsAuth's owner has not suspended",
      came: (boot) => prefixed(boot.appId),
      task: (boot) => `kms reinstate-app ${prefixed(boot.appId)}`,
    },
    osImage,
    {
      code: "denied.app-not-deployed",
      reason: "App not deployed or invalid address",
      expected: "a contract at the app id",
      came: (boot) => prefixed(boot.appId),
      task: () => "app create",
    },
    appContract("denied.app-contract-failed", "App contract failed", "an app contract that answers within its gas"),
    appContract("denied.app-contract-answer", "App contract answer is malformed", "an app contract that answers as agreed"),
    tcb("a TCB status that the app's contract accepts"),
    tcbAdvisory((boot) => `app accept-advisory ${advisory(boot)} --app ${prefixed(boot.appId)}`),
    {
      code: "denied.compose-hash",
      reason: "Compose hash not allowed",
      expected: "a compose hash that the app's contract accepts",
      came: (boot) => prefixed(boot.composeHash),
      task: (boot) => unlessAbsent(boot.composeHash, (hash) => `app allow-compose ${hash} --app ${prefixed(boot.appId)}`),
    },
    {
      code: "denied.device",
      reason: "Device not allowed",
      expected: "a device that the app's contract accepts",
      came: (boot) => prefixed(boot.deviceId),
      task: () => null,
    },
  ],
};

export interface Verdict {
  readonly isAllowed: boolean;
  readonly reason: string;
}

/** The contracts evaluate their gates in order and stop at the first that fails: so the reason tells the state of them all. */
export function explain(
  kind: BootKind,
  boot: BootInfoMessage,
  verdict: Verdict,
): { code: "allowed" | DenialCode; trace: Gate[] } {
  const gates = rules[kind];
  if (verdict.isAllowed) return { code: "allowed", trace: traceOf(gates, boot) };
  const failed = gates.findIndex((rule) => rule.reason === verdict.reason);
  const failing = gates[failed];
  if (failing === undefined) return { code: "denied.other", trace: foreignTrace(gates, boot, verdict.reason) };
  return { code: failing.code, trace: traceOf(gates, boot, failed) };
}

/** Passed up to the gate that failed, if one did; those behind it were not reached. */
export function traceOf(gates: readonly GateRule[], boot: BootInfoMessage, failed: number = gates.length): Gate[] {
  const outcome = (index: number) => (index < failed ? "passed" : index === failed ? "failed" : "not-reached");
  return gates.map((rule, index) => gate(rule, boot, outcome(index)));
}

/** Words of no known gate come from an app's own contract, which is asked after KmsAuth's gates. */
function foreignTrace(gates: readonly GateRule[], boot: BootInfoMessage, reason: string): Gate[] {
  const known = gates.findIndex((rule) => rule.code === "denied.app-contract-answer") + 1;
  const passed = traceOf(gates.slice(0, known), boot);
  return [
    ...passed,
    { gate: "other", expected: "what the app's own contract asks for", came: reason, outcome: "failed", task: null },
  ];
}

function gate(rule: GateRule, boot: BootInfoMessage, outcome: Gate["outcome"]): Gate {
  const { expected } = rule;
  const task = outcome === "failed" ? rule.task(boot) : null;
  return { gate: rule.code.slice("denied.".length), expected, came: rule.came(boot), outcome, task };
}

/** What the evidence does not name cannot be listed: an absent identity fails even where zero is listed. */
function unlessAbsent(hex: string, command: (hash: string) => string): string | null {
  return hex === "" || hex === "0x" ? null : command(prefixed(hex));
}

/** The one advisory, where there is one: of several the contract does not say which. Words of a stranger's are no part of a command line. */
function advisory({ advisoryIds: [first = "", ...others] }: BootInfoMessage): string {
  return others.length === 0 && /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(first) ? first : "ADVISORY";
}
