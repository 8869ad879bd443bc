/** KMS.GetAppKey: releases an app's keys to the VM that proved to be an instance of it. */
import { appraiseBoot } from "../attestation/appraise.ts";
import type { VerifiedEvidence } from "../attestation/verifier.ts";
import { type Authority, besideSelf } from "../authorization/authority.ts";
import type { AuthorizedBoot } from "../authorization/authorized-boot.ts";
import { inContext, KmsError } from "../errors.ts";
import { deriveAppKeys } from "../keys/app-keys.ts";
import type { RootKeys } from "../keys/root-keys.ts";
import { needReleaseGate, type ReleaseGates } from "./release-gates.ts";

const MAX_API_VERSION = 1;

export interface GetAppKeyServices {
  readonly authority: Authority;
  readonly rootKeys: RootKeys;
  readonly rootCaCertPem: string;
  readonly gates: ReleaseGates;
}

export interface GetAppKeyInput {
  readonly apiVersion: number;
  readonly vmConfig: string;
}

export async function getAppKey(services: GetAppKeyServices, input: GetAppKeyInput, caller: VerifiedEvidence | undefined) {
  if (input.apiVersion > MAX_API_VERSION) {
    throw new KmsError("malformed.api-version", `Unsupported API version: ${input.apiVersion}`);
  }
  const boot = await besideSelf(services.authority, (own) => authorizeApp(services.authority, input.vmConfig, caller, own));
  needReleaseGate(services.gates, boot.info.teeVariant);
  const keys = deriveAppKeys(services.rootKeys, boot);
  return {
    ca_cert: services.rootCaCertPem,
    disk_crypt_key: keys.diskCryptKey,
    env_crypt_key: keys.envCryptKey,
    k256_key: keys.k256Key,
    k256_signature: keys.k256Signature,
    tproxy_app_id: boot.gatewayAppId,
    gateway_app_id: boot.gatewayAppId,
    os_image_hash: boot.info.osImageHash,
  };
}

async function authorizeApp(
  authority: Authority,
  vmConfig: string,
  caller: VerifiedEvidence | undefined,
  own: Promise<unknown>,
): Promise<AuthorizedBoot> {
  try {
    if (caller === undefined) throw new KmsError("unproven.no-evidence", "No attestation provided");
    return await authority.authorizeApp(appraiseBoot(caller, { vmConfig, mode: "runtime" }), own);
  } catch (thrown) {
    throw inContext("App not allowed", thrown);
  }
}
