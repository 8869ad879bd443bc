/** KMS.GetTempCaCert: the CA under which callers make their client certificates, its key included. It proves nothing. */
import type { Authority } from "../authorization/authority.ts";
import { needReleaseGate, type ReleaseGates } from "./release-gates.ts";

export interface GetTempCaCertServices {
  readonly authority: Authority;
  readonly gates: ReleaseGates;
  readonly tempCaCertPem: string;
  readonly tempCaKeyPem: string;
  readonly rootCaCertPem: string;
}

export async function getTempCaCert(services: GetTempCaCertServices) {
  const own = await services.authority.authorizeSelf();
  if (own !== undefined) needReleaseGate(services.gates, own.info.teeVariant);
  return {
    temp_ca_cert: services.tempCaCertPem,
    temp_ca_key: services.tempCaKeyPem,
    ca_cert: services.rootCaCertPem,
  };
}
