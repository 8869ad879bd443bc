/** KMS.GetMeta: what this KMS is, for anyone. */
import type { Authority } from "../authorization/authority.ts";
import { parseBootstrapInfo } from "../replication/bootstrap-info.ts";

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
    bootstrap_info: parseBootstrapInfo(await services.readBootstrapInfo()),
    is_dev: info.isDev,
    gateway_app_id: info.gatewayAppId,
    kms_contract_address: info.kmsContractAddress,
    chain_id: info.chainId,
    app_auth_implementation: info.appImplementation,
  };
}
