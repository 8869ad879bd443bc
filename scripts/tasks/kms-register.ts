/** Publishes the root keys of a bootstrapped KMS, after its evidence was verified and its owner's policy asked. */
import { open } from "node:fs/promises";
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { type Hex, size } from "viem";
import type { BootInfo } from "../../kms/attestation/boot-info.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { type CollateralSource, createCollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { intelSgxRootCa, loadTrustAnchor, type TrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { createVerifier } from "../../kms/attestation/verifier.ts";
import { fromUtf8, toHex } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { readIfThere } from "../lib/authority.ts";
import { type BootstrapInfo, maxFileBytes, parseBootstrapInfo } from "../lib/bootstrap-info.ts";
import { type ChainSession, onChain, openSession } from "../lib/chain-session.ts";
import { carryOut, tell } from "../lib/change.ts";
import { type CommandResult, hinted, runCommand, usageError } from "../lib/cli.ts";
import { kmsAuthAbi } from "../lib/governance-abi.ts";
import { kmsSwitches, switchesText } from "../lib/hardening.ts";
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
  readonly schedule: boolean;
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
  readonly schedule?: boolean;
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
  await needStorable(session, contract, after);
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

/** What fits into the code of one contract, less the byte that keeps it from running. */
const maxPartBytes = 24_575;

/** Where root keys are checked, their evidence is kept as contract code: a part that does not fit is refused before gas is spent. */
async function needStorable(session: ChainSession, address: Hex, { quote, eventlog }: KmsInfo): Promise<void> {
  const bits = await readIfThere<bigint>(session, { address, abi: kmsAuthAbi, functionName: "hardening" });
  if (bits === null || !switchesText(bits, kmsSwitches)["checkRootKeys"]) return;
  for (const [part, bytes] of Object.entries({ quote: size(quote), eventlog: size(eventlog) })) {
    if (bytes <= maxPartBytes) continue;
    throw hinted(
      "malformed.length",
      `the ${part} is too large to be kept on the chain: need at most ${maxPartBytes} bytes, have ${bytes}`,
      "certificates that come with a quote can be left out of it; an event log can be reduced to its last register",
    );
  }
}

function summary({ k256Pubkey, caPubkey, quote, eventlog }: KmsInfo) {
  const bytes = { k256Pubkey: size(k256Pubkey), caPubkey: size(caPubkey), quote: size(quote), eventlog: size(eventlog) };
  return { k256Pubkey, caPubkey, bytes };
}

async function load(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      if (size > maxFileBytes) throw new KmsError("malformed.file", `${path}: need at most ${maxFileBytes} bytes, have ${size}`);
      return new Uint8Array(await file.readFile());
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof KmsError) throw cause;
    throw new KmsError("malformed.file", `${path}: cannot be read`, { cause });
  }
}
