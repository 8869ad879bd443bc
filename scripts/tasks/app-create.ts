/** Creates an app contract by KmsAuth's factory and tells its app id. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { type Hex, isAddressEqual, type Log, parseEventLogs } from "viem";
import { KmsError } from "../../kms/errors.ts";
import { readIfThere } from "../lib/authority.ts";
import { type ChainSession, openSession } from "../lib/chain-session.ts";
import { carryOut, tell } from "../lib/change.ts";
import { type CommandResult, runCommand, usageError } from "../lib/cli.ts";
import { kmsAuthAbi } from "../lib/governance-abi.ts";
import { kmsAuthAddress, parseAddress, parseHash } from "../lib/values.ts";

const zeroHash: Hex = `0x${"00".repeat(32)}`;

export interface AppCreateArguments {
  readonly kmsAuth: string | undefined;
  readonly owner: string | undefined;
  readonly composeHash: string | undefined;
  readonly device: string | undefined;
  readonly salt: string | undefined;
  readonly allowAnyDevice: boolean;
  readonly requireTcbUpToDate: boolean;
  readonly disableUpgrades: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

export default function appCreate(input: AppCreateArguments, hre: HardhatRuntimeEnvironment): Promise<void> {
  return runCommand(input, async () => {
    const contract = kmsAuthAddress(input.kmsAuth);
    const composeHash = input.composeHash === undefined ? zeroHash : parseHash(input.composeHash, "compose hash");
    const device = input.device === undefined ? zeroHash : parseHash(input.device, "device");
    const owner = input.owner === undefined ? undefined : parseAddress(input.owner, "the owner", "pass --owner ADDRESS");
    const salt = input.salt === undefined ? undefined : parseSalt(input.salt);
    return createApp(await openSession(hre), contract, { ...input, owner, composeHash, device, salt });
  });
}

export interface AppSettings {
  readonly owner: Hex | undefined;
  readonly composeHash: Hex;
  readonly device: Hex;
  /** Given: the app id follows from the settings and this value. */
  readonly salt?: Hex | undefined;
  readonly allowAnyDevice: boolean;
  readonly requireTcbUpToDate: boolean;
  readonly disableUpgrades: boolean;
  readonly dryRun: boolean;
}

export async function createApp(session: ChainSession, contract: Hex, settings: AppSettings): Promise<CommandResult> {
  const owner = settings.owner ?? session.sender;
  const { disableUpgrades, requireTcbUpToDate, allowAnyDevice, device, composeHash, salt } = settings;
  const fixed = [owner, disableUpgrades, requireTcbUpToDate, allowAnyDevice, device, composeHash] as const;
  const args = salt === undefined ? fixed : ([...fixed, salt] as const);
  const predicted = salt === undefined ? null : await predict(session, contract, [...fixed, salt]);
  const change = {
    task: "app create",
    call: { address: contract, abi: kmsAuthAbi, functionName: "deployAndRegisterApp", args },
    what: "app",
    isAnyones: true,
    before: null,
    after: {
      owner,
      composeHash: composeHash === zeroHash ? null : composeHash,
      device: device === zeroHash ? null : device,
      allowAnyDevice,
      requireTcbUpToDate,
      disableUpgrades,
      ...(salt !== undefined && { salt }),
    },
    ...(device === zeroHash && !allowAnyDevice && { notes: ["no device may run this app: pass --device or --allow-any-device"] }),
  };
  const outcome = await carryOut(session, change, settings);
  const appId = outcome.receipt && deployedApp(outcome.receipt.logs, contract);
  if (appId !== null && predicted !== null && !isAddressEqual(appId, predicted))
    throw new KmsError("fault.internal", `the app is ${appId}, and not ${predicted} as the factory predicted`);
  const extra = { appId, ...(predicted !== null && { predictedAppId: predicted }) };
  const result = tell(session, change, outcome, { dryRun: settings.dryRun, extra });
  return { ...result, notes: change.notes ?? [] };
}

type Salted = readonly [Hex, boolean, boolean, boolean, Hex, Hex, Hex];

async function predict(session: ChainSession, address: Hex, args: Salted): Promise<Hex> {
  const predicted = await readIfThere<Hex>(session, { address, abi: kmsAuthAbi, functionName: "predictAppId", args });
  if (predicted !== null) return predicted;
  throw usageError(
    `${address} knows no app ids in advance: no such contract, or one from before salts`,
    "leave --salt out, or upgrade it: ./run hardhat kms upgrade",
  );
}

/** Zero is a salt like any other. */
function parseSalt(text: string): Hex {
  const digits = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(text)?.[1]?.toLowerCase();
  if (digits === undefined) throw usageError(`--salt: need 32 bytes of hex, have ${text.length} characters`, "64 hex digits");
  return `0x${digits}`;
}

/** Only an event of the factory itself counts: the app's initialisation emits logs of its own. */
function deployedApp(logs: Log[], factory: Hex): Hex {
  const events = parseEventLogs({ abi: kmsAuthAbi, eventName: "AppDeployedViaFactory", logs });
  const [event, ...others] = events.filter(({ address }) => isAddressEqual(address, factory));
  if (event === undefined || others.length > 0)
    throw new KmsError("fault.internal", "need one AppDeployedViaFactory event of the factory");
  return event.args.appId;
}
