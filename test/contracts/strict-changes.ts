/** Every change of both contracts as a row: what it emits, what the audit trail says of it, the getter that follows. */
import { type Hex, keccak256, toHex } from "viem";
import { now } from "./strict-domain.ts";
import {
  appOwner,
  BOOT_INFO,
  deployApp,
  deployImplementation,
  kmsImplementation,
  owner,
  padded,
  type SetterRow,
  ZERO_ADDRESS,
  ZERO_WORD,
} from "./trust-domain.ts";

/** A row, and the change that must come first. */
export type Change = readonly [...SetterRow, before?: readonly [string, readonly unknown[]]];

export const ADVISORY = "INTEL-SA-00001";
export const OUT_OF_DATE = "OutOfDate";
export const UNTIL = (await now()) + 86_400n;
export const nextApp = (await deployImplementation("AppAuth")).address;
export const foreignApp = (await deployApp([appOwner, false, true, ZERO_WORD, BOOT_INFO.composeHash])).app.address;
/** Has code, which is all that is asked of a verifier when it is set. */
export const verifier = kmsImplementation;
export const text = (value: string): Hex => keccak256(toHex(value));
const { deviceId: DEVICE, composeHash: HASH, osImageHash: IMAGE, mrAggregated: MR } = BOOT_INFO;
const GATEWAY = "0x1234567890123456789012345678901234567890";

interface List {
  readonly name: string;
  readonly member: string;
  readonly policy: string;
  readonly value: Hex;
  readonly getter: string;
}

function listed({ name, member, policy, value, getter }: List): Change[] {
  const [add, said] = [[`add${name}`, [value]], { [member]: value }] as const;
  return [
    [...add, `${name}Added`, said, policy, value, true, getter, [value]],
    [`remove${name}`, [value], `${name}Removed`, said, policy, value, false, getter, [value], add],
  ];
}

function switched(setter: string, event: string, member: string, policy: string, getter: string): Change[] {
  return [
    [setter, [true], event, { [member]: true }, policy, ZERO_WORD, true, getter, []],
    [setter, [false], event, { [member]: false }, policy, ZERO_WORD, false, getter, [], [setter, [true]]],
  ];
}

const gateway = (id: string) =>
  [
    "setGatewayAppId",
    [id],
    "GatewayAppIdSet",
    { gatewayAppId: id },
    "gateway-app-id",
    text(id),
    true,
    "gatewayAppId",
    [],
  ] as const;

const addressed = (
  [setter, account]: readonly [string, Hex],
  event: string,
  member: string,
  [policy, enabled]: readonly [string, boolean],
  [getter, ...args]: readonly [string, ...Hex[]],
) => [setter, [account], event, { [member]: account }, policy, padded(account), enabled, getter, args] as const;

/** Of the deployed interface. */
export const KMS_CHANGES: readonly Change[] = [
  ...[
    {
      name: "KmsAggregatedMr",
      member: "mrAggregated",
      policy: "kms-aggregated-mr",
      value: MR,
      getter: "kmsAllowedAggregatedMrs",
    },
    { name: "KmsDevice", member: "deviceId", policy: "kms-device", value: DEVICE, getter: "kmsAllowedDeviceIds" },
    { name: "OsImageHash", member: "osImageHash", policy: "os-image", value: IMAGE, getter: "allowedOsImages" },
  ].flatMap(listed),
  gateway(GATEWAY),
  [...gateway(""), ["setGatewayAppId", ["any"]]],
  addressed(
    ["setAppImplementation", nextApp],
    "AppImplementationSet",
    "implementation",
    ["app-implementation", true],
    ["appImplementation"],
  ),
  addressed(["registerApp", foreignApp], "AppRegistered", "appId", ["registered-app", true], ["registeredApps", foreignApp]),
];

/** Of the deployed interface. */
export const APP_CHANGES: readonly Change[] = [
  ...[
    { name: "ComposeHash", member: "composeHash", policy: "compose-hash", value: HASH, getter: "allowedComposeHashes" },
    { name: "Device", member: "deviceId", policy: "device", value: DEVICE, getter: "allowedDeviceIds" },
  ].flatMap(listed),
  ...switched("setAllowAnyDevice", "AllowAnyDeviceSet", "allowAny", "allow-any-device", "allowAnyDevice"),
  ...switched(
    "setRequireTcbUpToDate",
    "RequireTcbUpToDateSet",
    "requireUpToDate",
    "require-tcb-up-to-date",
    "requireTcbUpToDate",
  ),
  ["disableUpgrades", [], "UpgradesDisabled", {}, "upgrades-disabled", ZERO_WORD, true, "upgradesDisabled", []],
];

const hardened = (bits: bigint, enabled: boolean) =>
  [
    "setHardening",
    [bits],
    "HardeningSet",
    { switches: bits },
    "hardening",
    toHex(bits, { size: 32 }),
    enabled,
    "hardening",
    [],
  ] as const;

const status = { tcbStatus: OUT_OF_DATE };
const statusRule = ["tcb-status", text(OUT_OF_DATE)] as const;
const accept = ["acceptTcbStatus", [OUT_OF_DATE, UNTIL]] as const;
const advisory = { advisoryId: ADVISORY };
const advisoryRule = ["tcb-advisory", text(ADVISORY)] as const;
const acceptAdvisory = ["acceptAdvisory", [ADVISORY]] as const;

/** Without a predecessor: the same in every mode. */
const NEW_CHANGES: readonly Change[] = [
  hardened(2n, true),
  [...hardened(0n, false), ["setHardening", [1n]]],
  [...accept, "TcbStatusAccepted", { ...status, until: UNTIL }, ...statusRule, true, "tcbStatusAcceptedUntil", [OUT_OF_DATE]],
  [
    "withdrawTcbStatus",
    [OUT_OF_DATE],
    "TcbStatusWithdrawn",
    status,
    ...statusRule,
    false,
    "tcbStatusAcceptedUntil",
    [OUT_OF_DATE],
    accept,
  ],
  [...acceptAdvisory, "AdvisoryAccepted", advisory, ...advisoryRule, true, "acceptedAdvisories", [ADVISORY]],
  [
    "withdrawAdvisory",
    [ADVISORY],
    "AdvisoryWithdrawn",
    advisory,
    ...advisoryRule,
    false,
    "acceptedAdvisories",
    [ADVISORY],
    acceptAdvisory,
  ],
];

const suspend = ["suspendApp", foreignApp] as const;
const suspended = ["suspendedApps", foreignApp] as const;

export const NEW_KMS_CHANGES: readonly Change[] = [
  ...NEW_CHANGES,
  ["pause", [], "Paused", { account: owner }, "paused", ZERO_WORD, true, "paused", []],
  ["unpause", [], "Unpaused", { account: owner }, "paused", ZERO_WORD, false, "paused", [], ["pause", []]],
  addressed(suspend, "AppSuspended", "appId", ["suspended-app", true], suspended),
  [
    ...addressed(["reinstateApp", foreignApp], "AppReinstated", "appId", ["suspended-app", false], suspended),
    ["suspendApp", [foreignApp]],
  ],
  addressed(["setQuoteVerifier", verifier], "QuoteVerifierSet", "quoteVerifier", ["quote-verifier", true], ["quoteVerifier"]),
  [
    ...addressed(
      ["setQuoteVerifier", ZERO_ADDRESS],
      "QuoteVerifierSet",
      "quoteVerifier",
      ["quote-verifier", false],
      ["quoteVerifier"],
    ),
    ["setQuoteVerifier", [verifier]],
  ],
];

export const NEW_APP_CHANGES: readonly Change[] = [
  ...NEW_CHANGES,
  ["freezePolicy", [], "PolicyFrozen", {}, "policy-frozen", ZERO_WORD, true, "policyFrozen", []],
];
