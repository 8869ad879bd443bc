/** Who may call what of a trust domain behind an access manager: roles, the functions of each, and how long each waits. */
import { type Hex, toFunctionSelector } from "viem";

export type RoleName = "admin" | "curator" | "upgrader" | "guardian" | "operator" | "management";

const DAY = 86_400;

/** Role ids on the chain; zero is the manager's own admin role. */
export const ROLE_IDS = { admin: 0n, curator: 1n, upgrader: 2n, guardian: 3n, operator: 4n, management: 5n } as const;

/**
 * Nobody ever holds `management`: it stands for the manager's own admin functions, which stay the admin's, and exists only because
 * whether the guardian may cancel an operation is looked up through the role of the function.
 */
export const HELD_ROLES = ["admin", "curator", "upgrader", "guardian", "operator"] as const;

/** Roles whose scheduled operations the guardian may cancel. */
export const GUARDED_ROLES = ["curator", "upgrader", "operator", "management"] as const;

/** Seconds between scheduling and execution, for a deployment that names none. The admin's zero stands for the upgrader's. */
export const DEFAULT_DELAYS = { curator: 2 * DAY, upgrader: 7 * DAY, operator: DAY, admin: 0 } as const;

/** Shortest waits that the terms contract takes; the upgrader's is also at least the curator's, the admin's at least the upgrader's. */
export const MINIMUM_DELAYS = { curator: DAY, upgrader: 2 * DAY, operator: 3_600 } as const;
export const MAXIMUM_DELAY = 90 * DAY;

/**
 * Every function of KmsAuth that is not a view, and the one role that may call it through the manager. What adds trust is slow, what
 * removes trust is instant; the upgrader has whatever could do both, `multicall` among them. Additions to this contract that are
 * missing here are the admin's, who waits longest.
 */
export const KMS_AUTH_FUNCTIONS = {
  curator: [
    "setKmsInfo((bytes,bytes,bytes,bytes))",
    "setKmsQuote(bytes)",
    "setKmsEventlog(bytes)",
    "setGatewayAppId(string)",
    "registerApp(address)",
    "setAppImplementation(address)",
    "addKmsAggregatedMr(bytes32)",
    "addKmsDevice(bytes32)",
    "addOsImageHash(bytes32)",
    "acceptTcbStatus(string,uint64)",
    "acceptAdvisory(string)",
  ],
  upgrader: [
    "upgradeToAndCall(address,bytes)",
    "transferOwnership(address)",
    "acceptOwnership()",
    "renounceOwnership()",
    "multicall(bytes[])",
    "setHardening(uint256)",
    "setQuoteVerifier(address)",
    "initialize(address,address)",
    "initializeStrict(address,address)",
    "deployAndRegisterApp(address,bool,bool,bytes32,bytes32)",
    "deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32)",
    "deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32,bytes32)",
  ],
  guardian: [
    "removeKmsAggregatedMr(bytes32)",
    "removeKmsDevice(bytes32)",
    "removeOsImageHash(bytes32)",
    "withdrawTcbStatus(string)",
    "withdrawAdvisory(string)",
    "pause()",
    "suspendApp(address)",
  ],
  operator: ["unpause()", "reinstateApp(address)"],
} as const;

/**
 * The manager's own admin functions, which the guardian may cancel too. `revokeRole` is left out: a guardian gone bad could else
 * cancel his own removal for ever.
 */
export const MANAGEMENT_FUNCTIONS = [
  "labelRole(uint64,string)",
  "grantRole(uint64,address,uint32)",
  "setRoleAdmin(uint64,uint64)",
  "setRoleGuardian(uint64,uint64)",
  "setGrantDelay(uint64,uint32)",
  "setTargetAdminDelay(address,uint32)",
  "setTargetFunctionRole(address,bytes4[],uint64)",
  "setTargetClosed(address,bool)",
  "updateAuthority(address,address)",
] as const;

export function selectorsOf(signatures: readonly string[]): Hex[] {
  return signatures.map((signature) => toFunctionSelector(signature));
}

export function roleNameOf(roleId: bigint): RoleName | undefined {
  return ([...HELD_ROLES, "management"] as const).find((name) => ROLE_IDS[name] === roleId);
}
