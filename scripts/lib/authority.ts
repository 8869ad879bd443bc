/** The AccessManager that owns a contract: who may make a call through it, and how long the call waits. */
import {
  type Abi,
  AbiDecodingDataSizeTooSmallError,
  AbiDecodingZeroDataError,
  BaseError,
  ContractFunctionRevertedError,
  ContractFunctionZeroDataError,
  decodeAbiParameters,
  type Hex,
  isAddressEqual,
  size,
  slice,
  toFunctionSelector,
} from "viem";
import { ROLE_IDS } from "../../ignition/governance-roles.ts";
import { authorityAbi } from "./authority-abi.ts";
import { type ChainSession, onChain } from "./chain-session.ts";
import { hinted, usageError } from "./cli.ts";
import { durationText } from "./dates.ts";
import { kmsAuthAbi } from "./governance-abi.ts";
import { roleText } from "./roles.ts";

/** One call of a target, as the AccessManager sees it. */
export interface Action {
  readonly authority: Hex;
  readonly target: Hex;
  readonly data: Hex;
}

export interface Permission {
  /** The role that the call needs, in words. */
  readonly role: string;
  readonly isHolder: boolean;
  /** Zero: the call is made at once. */
  readonly delaySeconds: number;
}

/** The AccessManager behind a contract, or the contract itself if it is one; null where another account owns it. */
export async function findAuthority(session: ChainSession, target: Hex): Promise<Hex | null> {
  const owner = await readIfThere<Hex>(session, { address: target, abi: kmsAuthAbi, functionName: "owner" });
  if (owner === null) return (await isAccessManager(session, target)) ? target : null;
  if (isAddressEqual(owner, session.sender)) return null; // an AccessManager signs nothing
  return (await isAccessManager(session, owner)) ? owner : null;
}

export async function needAuthority(session: ChainSession, target: Hex): Promise<Hex> {
  const authority = await findAuthority(session, target);
  if (authority !== null) return authority;
  throw hinted(
    "denied.role",
    `${target} is not governed by an access manager`,
    "its owner decides alone: hand it over with ./run hardhat governance hand-over",
  );
}

export async function isAccessManager(session: ChainSession, address: Hex): Promise<boolean> {
  const admin = await readIfThere<bigint>(session, { address, abi: authorityAbi, functionName: "ADMIN_ROLE" });
  if (admin !== ROLE_IDS.admin) return false;
  const expiration = await readIfThere<number>(session, { address, abi: authorityAbi, functionName: "expiration" });
  return expiration !== null && expiration > 0;
}

export async function permissionOf(session: ChainSession, action: Action, account: Hex): Promise<Permission> {
  return onChain(async () => {
    const { authority, target, data } = action;
    const read = { address: authority, abi: authorityAbi } as const;
    const { roleId, operationDelay } = isAddressEqual(target, authority)
      ? await restrictionOf(session, authority, data)
      : await targetRestriction(session, action);
    const args = [roleId, account] as const;
    const [isHolder, executionDelay] = await session.reader.readContract({ ...read, functionName: "hasRole", args });
    return { role: roleText(roleId), isHolder, delaySeconds: Math.max(operationDelay, executionDelay) };
  });
}

export async function needPermission(session: ChainSession, action: Action): Promise<Permission> {
  await needOpen(session, action);
  const permission = await permissionOf(session, action, session.sender);
  if (permission.isHolder) return permission;
  throw hinted(
    "denied.role",
    `the call needs the role ${permission.role}, which ${session.sender} does not hold`,
    `use the account that holds ${permission.role}`,
  );
}

interface Restriction {
  readonly roleId: bigint;
  readonly operationDelay: number;
}

async function targetRestriction(session: ChainSession, { authority, target, data }: Action): Promise<Restriction> {
  const read = { address: authority, abi: authorityAbi, functionName: "getTargetFunctionRole" } as const;
  return { roleId: await session.reader.readContract({ ...read, args: [target, slice(data, 0, 4)] }), operationDelay: 0 };
}

/** The admin may close a contract to all calls, except those that open it again. */
async function needOpen(session: ChainSession, { authority, target }: Action): Promise<void> {
  if (isAddressEqual(target, authority)) return;
  const read = { address: authority, abi: authorityAbi, functionName: "isTargetClosed" } as const;
  if (!(await onChain(() => session.reader.readContract({ ...read, args: [target] })))) return;
  throw hinted(
    "denied.role",
    `the access manager is closed to calls of ${target}`,
    "its admin opens it: setTargetClosed(ADDRESS,false), scheduled with --target MANAGER",
  );
}

const selectorsOf = (...names: string[]): Set<Hex> =>
  new Set(
    authorityAbi.flatMap((item) => (item.type === "function" && names.includes(item.name) ? [toFunctionSelector(item)] : [])),
  );
const adminOnly = selectorsOf("labelRole", "setRoleAdmin", "setRoleGuardian", "setGrantDelay", "setTargetAdminDelay");
const ofTarget = selectorsOf("updateAuthority", "setTargetClosed", "setTargetFunctionRole");
const ofRole = selectorsOf("grantRole", "revokeRole");

/** AccessManager rules its own functions by itself, and has no view that says how. */
async function restrictionOf(session: ChainSession, authority: Hex, data: Hex): Promise<Restriction> {
  const { reader } = session;
  const read = { address: authority, abi: authorityAbi } as const;
  const selector = slice(data, 0, 4);
  if (adminOnly.has(selector)) return { roleId: ROLE_IDS.admin, operationDelay: 0 };
  if ((ofTarget.has(selector) || ofRole.has(selector)) && size(data) < 36)
    throw usageError(`the call has ${size(data)} bytes: its first argument is missing`, "write it with --call");
  if (ofTarget.has(selector)) {
    const [target] = decodeAbiParameters([{ type: "address" }], slice(data, 4));
    const operationDelay = await reader.readContract({ ...read, functionName: "getTargetAdminDelay", args: [target] });
    return { roleId: ROLE_IDS.admin, operationDelay };
  }
  if (ofRole.has(selector)) {
    const args = decodeAbiParameters([{ type: "uint64" }], slice(data, 4));
    return { roleId: await reader.readContract({ ...read, functionName: "getRoleAdmin", args }), operationDelay: 0 };
  }
  const roleId = await reader.readContract({ ...read, functionName: "getTargetFunctionRole", args: [authority, selector] });
  return { roleId, operationDelay: 0 };
}

export interface Read {
  readonly address: Hex;
  readonly abi: Abi;
  readonly functionName: string;
  readonly args?: readonly unknown[];
}

/** Null where the address has no such function: an account, or a contract from before it existed. `T` is what the ABI says. */
export async function readIfThere<T>(session: ChainSession, read: Read): Promise<T | null> {
  return onChain(async () => {
    try {
      return (await session.reader.readContract(read)) as T;
    } catch (cause) {
      if (cause instanceof BaseError && cause.walk(isAbsence) !== null) return null;
      throw cause;
    }
  });
}

const isAbsence = (error: unknown): boolean =>
  error instanceof ContractFunctionRevertedError ||
  error instanceof ContractFunctionZeroDataError ||
  error instanceof AbiDecodingZeroDataError ||
  error instanceof AbiDecodingDataSizeTooSmallError;

export function delayText(permission: Permission): string {
  return permission.delaySeconds === 0 ? "no delay" : durationText(permission.delaySeconds);
}
