/** KMS.GetMeta: what this KMS is, for anyone. */
import type { Authority } from "../authorization/authority.ts";
import { equal } from "../bytes.ts";
import { type BootstrapInfo, parseBootstrapInfo } from "../replication/bootstrap-info.ts";

export interface GetMetaServices {
  readonly authority: Authority;
  readonly rootCaCertPem: string;
  readonly k256Pubkey: Uint8Array;
  /** The file as it is now, null when it is missing or is no JSON: an operator may put it back at any time. */
  readonly readBootstrapInfo: () => Promise<unknown>;
}

export async function getMeta(services: GetMetaServices) {
  const info = await services.authority.info();
  return {
    ca_cert: services.rootCaCertPem,
    allow_any_upgrade: info.isDev,
    k256_pubkey: services.k256Pubkey,
    bootstrap_info: await bootstrapInfo(services),
    is_dev: info.isDev,
    gateway_app_id: info.gatewayAppId,
    kms_contract_address: info.kmsContractAddress,
    chain_id: info.chainId,
    app_auth_implementation: info.appImplementation,
  };
}

/** A node that onboarded where a bootstrap had broken off still has that one's file, which proves keys that nobody holds. */
async function bootstrapInfo({ k256Pubkey, readBootstrapInfo }: GetMetaServices): Promise<BootstrapInfo | null> {
  const info = parseBootstrapInfo(await readBootstrapInfo());
  return info !== null && equal(info.k256_pubkey, k256Pubkey) ? info : null;
}
