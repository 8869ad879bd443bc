/** Handing a trust domain over to an AccessManager: terms from the command line, checked by the contract that checks them on the chain. */
import { type Abi, BaseError, decodeErrorResult, encodeDeployData, type Hex, isHex } from "viem";
import { DEFAULT_DELAYS, HELD_ROLES, MAXIMUM_DELAY, MINIMUM_DELAYS } from "../../ignition/governance-roles.ts";
import { findAuthority, readIfThere } from "./authority.ts";
import { type ChainSession, onChain } from "./chain-session.ts";
import { hinted, usageError } from "./cli.ts";
import { durationText, parseDuration } from "./dates.ts";
import { kmsAuthAbi } from "./governance-abi.ts";
import { roleText } from "./roles.ts";
import { parseAddress } from "./values.ts";

export type HolderArguments = Readonly<Record<(typeof HELD_ROLES)[number], string | undefined>>;
export interface DelayArguments {
  readonly curatorDelay: string | undefined;
  readonly upgraderDelay: string | undefined;
  readonly operatorDelay: string | undefined;
  readonly adminDelay: string | undefined;
}

/** As the Ignition module takes them; delays in seconds. */
export interface Terms {
  readonly kmsAuth: Hex;
  readonly curator: Hex;
  readonly upgrader: Hex;
  readonly guardian: Hex;
  readonly operator: Hex;
  readonly admin: Hex;
  readonly curatorDelay: number;
  readonly upgraderDelay: number;
  readonly operatorDelay: number;
  readonly adminDelay: number;
}

export interface TermsContract {
  readonly abi: Abi;
  readonly bytecode: Hex;
}

export function parseTerms(kmsAuth: Hex, input: HolderArguments & DelayArguments): Terms {
  const holder = (role: (typeof HELD_ROLES)[number]) =>
    parseAddress(input[role], `the ${role}`, `pass --${role} ADDRESS: a Safe, or any other account`);
  const curatorDelay = delayOf(input.curatorDelay, "curator", MINIMUM_DELAYS.curator);
  const upgraderDelay = delayOf(input.upgraderDelay, "upgrader", Math.max(MINIMUM_DELAYS.upgrader, curatorDelay));
  return {
    kmsAuth,
    curator: holder("curator"),
    upgrader: holder("upgrader"),
    guardian: holder("guardian"),
    operator: holder("operator"),
    admin: holder("admin"),
    curatorDelay,
    upgraderDelay,
    operatorDelay: delayOf(input.operatorDelay, "operator", MINIMUM_DELAYS.operator),
    adminDelay: input.adminDelay === undefined ? upgraderDelay : delayOf(input.adminDelay, "admin", upgraderDelay),
  };
}

function delayOf(text: string | undefined, role: keyof typeof DEFAULT_DELAYS, minimum: number): number {
  const delay = text === undefined ? Math.max(DEFAULT_DELAYS[role], minimum) : parseDuration(text, `--${role}-delay`);
  if (delay >= minimum && delay <= MAXIMUM_DELAY) return delay;
  throw usageError(
    `--${role}-delay: need ${durationText(minimum)} to ${durationText(MAXIMUM_DELAY)}, have ${durationText(delay)}`,
    "curator at least a day, upgrader two days and the curator's, admin the upgrader's",
  );
}

/** Everything that would stop the hand-over half-way is found before its first transaction. */
export async function needHandable(session: ChainSession, terms: Terms, contract: TermsContract): Promise<void> {
  const authority = await findAuthority(session, terms.kmsAuth);
  if (authority !== null) {
    throw hinted("denied.role", `${terms.kmsAuth} is governed by ${authority} already`, "see ./run hardhat governance list");
  }
  const pending = await readIfThere<Hex>(session, { address: terms.kmsAuth, abi: kmsAuthAbi, functionName: "pendingOwner" });
  if (pending === null) {
    throw hinted(
      "denied.transaction",
      `${terms.kmsAuth} does not hand over in two steps: its code is older`,
      "upgrade it first: ./run hardhat kms upgrade",
    );
  }
  await onChain(() => needAcceptable(session, terms, contract));
}

async function needAcceptable(session: ChainSession, terms: Terms, { abi, bytecode }: TermsContract): Promise<void> {
  try {
    const data = encodeDeployData({ abi, bytecode, args: [terms] });
    await session.reader.call({ account: session.wallet.account, data });
  } catch (cause) {
    const data = cause instanceof BaseError ? revertData(cause) : undefined;
    if (data === undefined) throw cause;
    const { errorName, args = [] } = decodeErrorResult({ abi, data });
    throw hinted("denied.transaction", `the terms are refused: ${errorName}(${args.join(", ")})`, hints[errorName] ?? roles, {
      cause,
    });
  }
}

const roles = "the roles are 0 admin, 1 curator, 2 upgrader, 3 guardian, 4 operator";
const hints: Readonly<Record<string, string>> = {
  AdminIsDeployer: "the sender gives up everything: name another account as admin",
  GuardianHoldsAnotherRole: "who stops a change must not be who makes it: name another account as guardian",
  DeployerIsNotOwner: "only its owner hands a trust domain over: is the sender its owner?",
  NotATrustDomain: "is KMS_CONTRACT_ADDR, or --kms-auth, the KmsAuth proxy on this network?",
};

function revertData(error: BaseError): Hex | undefined {
  let data: Hex | undefined;
  error.walk((cause) => {
    if (typeof cause === "object" && cause !== null && "data" in cause && isHex(cause.data)) data = cause.data;
    return data !== undefined;
  });
  return data;
}

/** For people, a line a role. */
export function termsLines(terms: Terms): string[] {
  const delays = { ...terms, guardianDelay: 0 };
  return HELD_ROLES.map((role) => {
    const delay = delays[`${role}Delay`];
    return `${roleText(BigInt(HELD_ROLES.indexOf(role))).padEnd(9)} ${terms[role]}, ${delay === 0 ? "no delay" : durationText(delay)}`;
  });
}
