/** A strict trust domain beside the compatible one, on the same chain, and root keys with a quote that binds them. */
import { encodeFunctionData, getAddress, type Hex, toHex } from "viem";
import { bootstrapReportData } from "../../kms/attestation/report-data.ts";
import { caSpki, k256Pubkey, RootKeys } from "../../kms/keys/root-keys.ts";
import { simulatedTd } from "../support/simulated-td.ts";
import {
  appAbi,
  appImplementation,
  type Contract,
  client,
  deployProxy,
  kms,
  kmsAbi,
  kmsImplementation,
  owner,
  type StatedLog,
  send,
  stranger,
} from "./trust-domain.ts";

/** Bits of the switches. */
export const SWITCHES = {
  StrictChanges: 1n,
  KeepOwner: 2n,
  CheckRootKeys: 4n,
  FactoryOnly: 8n,
  CheckContracts: 16n,
  BoundedAppCalls: 32n,
  StrictApps: 64n,
} as const;
export const ALL_KMS_SWITCHES = 127n;
export const ALL_APP_SWITCHES = 3n;

export const strictData = (abi: typeof kmsAbi, args: readonly unknown[]): Hex =>
  encodeFunctionData({ abi, functionName: "initializeStrict", args });

const deployed = await deployProxy(kmsImplementation, strictData(kmsAbi, [owner, appImplementation]));
export const strictKms: Contract = { address: deployed.address, abi: kmsAbi };
export const strictKmsLogs: readonly StatedLog[] = deployed.logs;

/** Rows that hold whatever the switches say. */
export const MODES: readonly (readonly [mode: string, kms: Contract])[] = [
  ["compatible", kms],
  ["strict", strictKms],
];

/** A strict app that nobody registered. */
export async function deployStrictApp(args: readonly unknown[]): Promise<{ app: Contract; logs: StatedLog[] }> {
  const { address, logs } = await deployProxy(appImplementation, strictData(appAbi, args));
  return { app: { address, abi: appAbi }, logs };
}

/** An app of a trust domain's factory, which says in its last log which id it gave. */
export async function appOf(factory: Contract, args: readonly unknown[]): Promise<{ app: Contract; logs: StatedLog[] }> {
  const logs = await send(stranger, factory, "deployAndRegisterApp", args);
  const [, event, { appId }] = logs.at(-1) ?? ["0x", "none", {}];
  if (event !== "AppDeployedViaFactory") throw new Error(`the last log of the factory is ${event}`);
  return { app: { address: getAddress(String(appId)), abi: appAbi }, logs };
}

const td = simulatedTd();

export interface KmsInfo {
  readonly k256Pubkey: Hex;
  readonly caPubkey: Hex;
  readonly quote: Hex;
  readonly eventlog: Hex;
}

/** What a KMS on the simulated machine registers after its bootstrap; each seed is another KMS. */
export function bootstrapped(seed: number, eventlog = toHex('[{"imr":3}]')): KmsInfo {
  const keys = new RootKeys(new Uint8Array(32).fill(seed), new Uint8Array(32).fill(seed + 1));
  const [spki, point] = [caSpki(keys), k256Pubkey(keys)];
  const quote = td.quote(bootstrapReportData(spki, point));
  return { k256Pubkey: toHex(point), caPubkey: toHex(spki), quote: toHex(quote), eventlog };
}

/** One bit of one byte turned. */
export function flipped(bytes: Hex, offset: number): Hex {
  const at = 2 + 2 * offset;
  const byte = Number.parseInt(bytes.slice(at, at + 2), 16) ^ 1;
  return `0x${bytes.slice(2, at)}${byte.toString(16).padStart(2, "0")}${bytes.slice(at + 2)}`;
}

/** Seconds since 1970 of the newest block. */
export async function now(): Promise<bigint> {
  return (await client.getBlock()).timestamp;
}
