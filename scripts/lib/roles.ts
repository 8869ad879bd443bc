/** The roles of governance between their names and their ids on the chain. */
import { HELD_ROLES, ROLE_IDS, roleNameOf } from "../../ignition/governance-roles.ts";
import { usageError } from "./cli.ts";

/** A role's name, or its id. */
export function parseRole(text: string): bigint {
  const name = HELD_ROLES.find((role) => role === text || ROLE_IDS[role].toString() === text);
  if (name !== undefined) return ROLE_IDS[name];
  const known = HELD_ROLES.map((role) => `${role} (${ROLE_IDS[role]})`).join(", ");
  throw usageError(`unknown role ${text.slice(0, 40)}`, `the roles are ${known}`);
}

/** An access manager of somebody else's making may have roles without a name here. */
export function roleText(roleId: bigint): string {
  return roleNameOf(roleId) ?? `role ${roleId}`;
}
