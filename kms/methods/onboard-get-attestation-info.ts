/** Onboard.GetAttestationInfo: the identity that the owner has to allow before this KMS may get or make keys. */
import type { Authority } from "../authorization/authority.ts";
import type { OwnEvidence } from "../own-evidence.ts";
import type { GuestAgent } from "../ra-tls/guest-agent.ts";

export interface GetAttestationInfoServices {
  readonly ownEvidence: OwnEvidence;
  readonly agent: GuestAgent;
  readonly authority: Authority;
  readonly siteName: string;
}

export async function getAttestationInfo(services: GetAttestationInfoServices) {
  const { vmConfig } = await services.agent.info();
  const { info, evidence } = await services.ownEvidence.appraise(vmConfig);
  const chain = await services.authority.info().catch(() => undefined); // the page shows the identity also without a webhook
  return {
    device_id: info.deviceId,
    mr_aggregated: info.mrAggregated,
    os_image_hash: info.osImageHash,
    tee_variant: info.teeVariant,
    site_name: services.siteName,
    eth_rpc_url: chain?.ethRpcUrl ?? "",
    kms_contract_address: chain?.kmsContractAddress ?? "",
    ppid: evidence.quote.ppid,
  };
}
