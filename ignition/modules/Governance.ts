/** Hands a trust domain over to an access manager: slow additions, instant removals, and nothing left to the deployer. */
import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";
import {
  DEFAULT_DELAYS,
  GUARDED_ROLES,
  KMS_AUTH_FUNCTIONS,
  MANAGEMENT_FUNCTIONS,
  ROLE_IDS,
  selectorsOf,
} from "../governance-roles.ts";

/**
 * Four transactions: terms, manager, offer of ownership, hand-over. The last one does everything at once: before it the deployer owns
 * the trust domain and is the manager's only member, after it the deployer has nothing, and there is no state in between. A run that
 * stopped anywhere continues from its journal.
 */
export default buildModule("Governance", (m) => {
  const deployer = m.getAccount(0);
  const kmsAuth = m.contractAt("KmsAuth", m.getParameter<string>("kmsAuth"));
  const holders = {
    curator: m.getParameter<string>("curator"),
    upgrader: m.getParameter<string>("upgrader"),
    guardian: m.getParameter<string>("guardian"),
    operator: m.getParameter<string>("operator"),
    admin: m.getParameter<string>("admin"),
  };
  const curatorDelay = m.getParameter<number>("curatorDelay", DEFAULT_DELAYS.curator);
  const upgraderDelay = m.getParameter<number>("upgraderDelay", DEFAULT_DELAYS.upgrader);
  const operatorDelay = m.getParameter<number>("operatorDelay", DEFAULT_DELAYS.operator);
  const namedDelays = {
    curatorDelay,
    upgraderDelay,
    operatorDelay,
    adminDelay: m.getParameter<number>("adminDelay", DEFAULT_DELAYS.admin),
  };
  const terms = m.contract("GovernanceTerms", [{ kmsAuth, ...holders, ...namedDelays }], { from: deployer });
  const adminDelay = m.staticCall(terms, "adminDelay");
  const manager = m.contract("AccessManager", [deployer], { from: deployer, after: [terms] });
  const offer = m.call(kmsAuth, "transferOwnership", [manager], { id: "OfferOwnership", from: deployer });

  const step = (id: string, functionName: string, args: Parameters<typeof m.encodeFunctionCall>[2]) =>
    m.encodeFunctionCall(manager, functionName, args, { id });
  const delays = [
    ["admin", adminDelay],
    ["curator", curatorDelay],
    ["upgrader", upgraderDelay],
    ["guardian", 0],
    ["operator", operatorDelay],
  ] as const;

  const steps = [
    // First, while the function is still the manager's admin's, who is the deployer: afterwards it waits like an upgrade.
    step("AcceptOwnership", "execute", [kmsAuth, m.encodeFunctionCall(kmsAuth, "acceptOwnership")]),
    ...(["curator", "upgrader", "guardian", "operator"] as const).map((role) =>
      step(`Map_${role}`, "setTargetFunctionRole", [kmsAuth, selectorsOf(KMS_AUTH_FUNCTIONS[role]), ROLE_IDS[role]]),
    ),
    step("Map_management", "setTargetFunctionRole", [manager, selectorsOf(MANAGEMENT_FUNCTIONS), ROLE_IDS.management]),
    ...(["curator", "upgrader", "guardian", "operator", "management"] as const).map((role) =>
      step(`Label_${role}`, "labelRole", [ROLE_IDS[role], role]),
    ),
    ...GUARDED_ROLES.map((role) => step(`Guard_${role}`, "setRoleGuardian", [ROLE_IDS[role], ROLE_IDS.guardian])),
    // An admin granted without a delay one day still waits before a function changes hands or the guardian is shut out.
    step("Slow_KmsAuth", "setTargetAdminDelay", [kmsAuth, adminDelay]),
    step("Slow_manager", "setTargetAdminDelay", [manager, adminDelay]),
    ...delays.map(([role, delay]) => step(`Grant_${role}`, "grantRole", [ROLE_IDS[role], holders[role], delay])),
    // Whoever gets a role later waits as long as its first operation would have, so a grant is no way around a delay.
    ...delays.map(([role, delay]) => step(`Slow_${role}`, "setGrantDelay", [ROLE_IDS[role], delay])),
    step("Renounce", "renounceRole", [ROLE_IDS.admin, deployer]),
  ];
  m.call(manager, "multicall", [steps], { id: "HandOver", from: deployer, after: [offer] });
  return { kmsAuth, manager, terms };
});
