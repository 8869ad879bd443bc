/** Publishes the root keys of a bootstrapped KMS, after its evidence was verified and its owner's policy asked. */
import { open } from "node:fs/promises";
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { type Hex, hexToBytes } from "viem";
import type { BootInfo } from "../../kms/attestation/boot-info.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { type CollateralSource, createCollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { intelSgxRootCa, loadTrustAnchor, type TrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { createVerifier } from "../../kms/attestation/verifier.ts";
import { fromUtf8, toHex } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { type BootstrapInfo, maxFileBytes, parseBootstrapInfo } from "../lib/bootstrap-info.ts";
import { type ChainSession, onChain, openSession } from "../lib/chain-session.ts";
import { carryOut, tell } from "../lib/change.ts";
import { type CommandResult, hinted, runCommand, usageError } from "../lib/cli.ts";
import { kmsAuthAbi } from "../lib/governance-abi.ts";
import { type KmsInfo, toAppBootInfo, toKmsInfo, verifyBootstrap } from "../lib/registration.ts";
import { kmsAuthAddress } from "../lib/values.ts";

export interface KmsRegisterArguments {
  readonly kmsAuth: string | undefined;
  readonly bootstrapInfo: string | undefined;
  readonly root: string | undefined;
  readonly pccs: string | undefined;
  readonly collateral: string | undefined;
  readonly vmConfig: string | undefined;
  readonly replace: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

export default function kmsRegister(input: KmsRegisterArguments, hre: HardhatRuntimeEnvironment): Promise<void> {
  return runCommand(input, async () => {
    const contract = kmsAuthAddress(input.kmsAuth);
    const file = input.bootstrapInfo;
    if (file === undefined) throw usageError("the bootstrap information is not given", "pass --bootstrap-info FILE");
    const info = parseBootstrapInfo(await load(file));
    const boot = await verify(info, input);
    return register(await openSession(hre), contract, { info, boot, ...input });
  });
}

async function verify(info: BootstrapInfo, input: KmsRegisterArguments): Promise<BootInfo> {
  const anchor = input.root === undefined ? intelSgxRootCa : loadTrustAnchor(await load(input.root));
  const now = () => new Date();
  const verifier = createVerifier({ tdxRoot: anchor, collateral: await collateralSource(input, anchor, now), now });
  const vmConfig =
    input.vmConfig === undefined ? "" : fromUtf8(await load(input.vmConfig), "VM configuration", "malformed.vm-config");
  return verifyBootstrap(info, verifier, vmConfig);
}

async function collateralSource(input: KmsRegisterArguments, anchor: TrustAnchor, now: () => Date): Promise<CollateralSource> {
  if (input.collateral === undefined) return createCollateralStore({ pccsUrl: input.pccs ?? "", anchor, now });
  const collateral = parseCollateral(fromUtf8(await load(input.collateral), "collateral", "malformed.collateral"));
  return { collateralFor: async () => collateral };
}

export interface Registration {
  readonly info: BootstrapInfo;
  /** What verified evidence proves about the machine that made the keys. */
  readonly boot: BootInfo;
  readonly replace: boolean;
  readonly dryRun: boolean;
}

export async function register(session: ChainSession, contract: Hex, input: Registration): Promise<CommandResult> {
  await needAllowed(session, contract, input.boot);
  const after = toKmsInfo(input.info);
  const before = await readKmsInfo(session, contract);
  const hasKeys = before.k256Pubkey !== "0x" || before.caPubkey !== "0x";
  const sameKeys = before.k256Pubkey === after.k256Pubkey && before.caPubkey === after.caPubkey;
  if (hasKeys && !sameKeys && !input.replace) {
    throw hinted(
      "denied.already-bootstrapped",
      "other root keys are registered",
      "apps trust those: pass --replace if they are to go",
    );
  }
  const isSame = sameKeys && before.quote === after.quote && before.eventlog === after.eventlog;
  const change = {
    task: "kms register",
    call: { address: contract, abi: kmsAuthAbi, functionName: "setKmsInfo", args: [after] },
    what: "root keys",
    before: hasKeys ? summary(before) : null,
    after: summary(after),
    ...(isSame && { noOp: "already registered" }),
  };
  const extra = {
    mrAggregated: toHex(input.boot.mrAggregated),
    deviceId: toHex(input.boot.deviceId),
    osImageHash: toHex(input.boot.osImageHash),
    tcbStatus: input.boot.tcbStatus,
  };
  return tell(session, change, await carryOut(session, change, input), { dryRun: input.dryRun, extra });
}

/** Genuine evidence may come from anybody's machine: the keys count only if the owner's policy allows that KMS now. */
async function needAllowed(session: ChainSession, contract: Hex, boot: BootInfo): Promise<void> {
  const [isAllowed, reason] = await onChain(() =>
    session.reader.readContract({
      address: contract,
      abi: kmsAuthAbi,
      functionName: "isKmsAllowed",
      args: [toAppBootInfo(boot)],
    }),
  );
  const imageMissing = boot.osImageHash.length === 0; // a listed zero must not stand for it
  if (isAllowed && !imageMissing) return;
  const why = imageMissing ? "OS image is not allowed" : reason;
  throw hinted(
    "denied.policy",
    `the KMS that made these keys is not allowed: ${why}`,
    "allow its measurement, device and image first",
  );
}

async function readKmsInfo(session: ChainSession, address: Hex): Promise<KmsInfo> {
  const [k256Pubkey, caPubkey, quote, eventlog] = await onChain(() =>
    session.reader.readContract({ address, abi: kmsAuthAbi, functionName: "kmsInfo" }),
  );
  return { k256Pubkey, caPubkey, quote, eventlog };
}

function summary({ k256Pubkey, caPubkey, quote, eventlog }: KmsInfo) {
  return { k256Pubkey, caPubkey, quoteBytes: hexToBytes(quote).length, eventlogBytes: hexToBytes(eventlog).length };
}

async function load(path: string): Promise<Uint8Array> {
  try {
    await using file = await open(path);
    const { size } = await file.stat();
    if (size > maxFileBytes) throw new KmsError("malformed.file", `${path}: need at most ${maxFileBytes} bytes, have ${size}`);
    return new Uint8Array(await file.readFile());
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw new KmsError("malformed.file", `${path}: cannot be read`, { cause });
  }
}
