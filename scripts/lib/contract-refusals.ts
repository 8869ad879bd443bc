/** What the contracts' typed errors mean to an operator: the code where the refusal has one of its own, and what to do about it. */
import { type BaseError, type ContractFunctionRevertedError, decodeErrorResult, type Hex, isHex } from "viem";
import type { Code, KmsError } from "../../kms/errors.ts";
import { authorityAbi } from "./authority-abi.ts";
import { hinted } from "./cli.ts";
import { appAuthAbi, kmsAuthAbi } from "./governance-abi.ts";

const owners = "changes are the owner's: is the sender its owner?";
const listOperations = "see ./run hardhat governance list";
const roleHolders = "use an account that holds the role: ./run hardhat governance schedule --dry-run names it";

const refusals: Readonly<Record<string, readonly [Code, string]>> = {
  AccessManagerNotReady: ["denied.delay", listOperations],
  AccessManagerExpired: ["denied.expired", "schedule it again: operations expire a week after their time"],
  AccessManagerNotScheduled: ["denied.not-scheduled", listOperations],
  AccessManagerAlreadyScheduled: ["denied.already-scheduled", listOperations],
  AccessManagerUnauthorizedAccount: ["denied.role", roleHolders],
  AccessManagerUnauthorizedCall: ["denied.role", roleHolders],
  AccessManagerUnauthorizedCancel: [
    "denied.role",
    "whoever scheduled an operation may cancel it, and the guardian, and the admin",
  ],
  LengthOutOfRange: ["denied.transaction", "minimum, maximum and received length are in the error, in bytes"],
  MalformedRootKey: ["denied.transaction", "k256 is compressed, 33 bytes; the CA key is a P-256 SubjectPublicKeyInfo, 91 bytes"],
  RootKeysNotBound: ["denied.transaction", "the evidence was made for other keys: bootstrap the KMS again"],
  VerifierRequired: [
    "denied.transaction",
    "evidence that is no TDX quote needs a verifier: ./run hardhat kms set-verifier ADDRESS",
  ],
  EvidenceRefused: ["denied.transaction", "the verifier on the chain has other collateral, or the platform is out of date"],
  RegistrationClosed: ["denied.transaction", "the factory registers its own apps; others are registered by the owner"],
  AppAlreadyDeployed: [
    "denied.transaction",
    "the app of these settings and this salt is there already; another salt gives another app",
  ],
  PolicyIsFrozen: ["denied.transaction", "the owner froze this policy for good"],
  ComposeHashNotListed: ["denied.transaction", "the first hash is the listed one, the second takes its place"],
  ComposeHashAlreadyListed: ["denied.transaction", "revoke the old hash alone: ./run hardhat app revoke-compose HASH"],
  TcbStatusNotAcceptable: ["denied.transaction", "UpToDate always passes, Revoked never does"],
  AcceptanceDateOutOfRange: ["denied.transaction", "the date must lie ahead, and at most two years"],
};

/** A revert as a refusal with a code and a hint. */
export function asRefusal(revert: ContractFunctionRevertedError, cause: BaseError): KmsError {
  const { data } = revert;
  const reason = data
    ? `${data.errorName}(${(data.args ?? []).join(", ")})`
    : (revert.reason ?? revert.signature ?? "no reason given");
  const [code, hint] = (data && refusals[data.errorName]) ?? ["denied.transaction", owners];
  return hinted(code, `the contract refuses: ${printable(reason)}`, hint, { cause });
}

/** The words of a refusal in the raw data of a revert. */
export function revertText(data: unknown): string {
  if (!isHex(data) || data === "0x") return "no reason given";
  try {
    const abi = [...kmsAuthAbi, ...appAuthAbi, ...authorityAbi];
    const { errorName, args } = decodeErrorResult({ abi, data: data satisfies Hex });
    return printable(`${errorName}(${(args ?? []).join(", ")})`);
  } catch {
    return `error ${data.slice(0, 10)}`;
  }
}

const maxCharacters = 512;

/** A contract may revert with any bytes: none of them steers the terminal. */
function printable(text: string): string {
  return text.slice(0, maxCharacters).replaceAll(/[^\x20-\x7e]/g, "?");
}
