/** KMS.SignCert: certifies a key that lives in an authorized app's VM, as its request and the evidence inside show. */
import { appraiseBoot } from "../attestation/appraise.ts";
import { encodeEvidence, stripEvidence } from "../attestation/evidence.ts";
import { bindEvidence, reportData } from "../attestation/report-data.ts";
import type { VerifiedEvidence, Verifier } from "../attestation/verifier.ts";
import type { Authority } from "../authorization/authority.ts";
import type { AuthorizedBoot } from "../authorization/authorized-boot.ts";
import { issueAppChain } from "../ca/app-certificates.ts";
import { inContext, KmsError } from "../errors.ts";
import { deriveAppCaScalar } from "../keys/app-keys.ts";
import { wipe } from "../keys/kdf.ts";
import type { RootKeys } from "../keys/root-keys.ts";
import { appInfoOf } from "../ra-tls/app-info-of.ts";
import { type CsrVersion, decodeCsr, type VerifiedCsr, verifyCsr } from "../ra-tls/csr.ts";
import { needReleaseGate, type ReleaseGates } from "./release-gates.ts";

export interface SignCertServices {
  readonly authority: Pick<Authority, "authorizeSelf" | "authorizeApp">;
  readonly verifier: Verifier;
  readonly rootKeys: RootKeys;
  readonly rootCaCertPem: string;
  readonly gates: ReleaseGates;
  readonly now: () => Date;
}

export interface SignCertInput {
  readonly apiVersion: number;
  readonly csr: Uint8Array;
  readonly signature: Uint8Array;
  readonly vmConfig: string;
}

/** The caller's own certificate does not matter: the evidence is in the request, bound to the key in the request. */
export async function signCert(services: SignCertServices, input: SignCertInput) {
  await services.authority.authorizeSelf();
  const csr = verifyCsr(decodeCsr(needVersion(input.apiVersion), input.csr), input.signature);
  const verified = await verifyRequester(services.verifier, csr);
  const boot = await services.authority.authorizeApp(
    appraiseBoot(verified, { vmConfig: input.vmConfig, mode: "boottime" }), // an app runs by now, and its owner allowed its boot
  );
  needReleaseGate(services.gates, boot.info.teeVariant);
  return { certificate_chain: await issue(services, csr, verified, boot) };
}

function needVersion(version: number): CsrVersion {
  if (version !== 1 && version !== 2) throw new KmsError("malformed.api-version", `Unsupported API version: ${version}`);
  return version;
}

async function verifyRequester(verifier: Verifier, { spki, evidence }: VerifiedCsr): Promise<VerifiedEvidence> {
  try {
    return await verifier.verify(bindEvidence(evidence, reportData("ratls-cert", spki)));
  } catch (thrown) {
    throw inContext("Quote verification failed", thrown);
  }
}

async function issue(
  { rootKeys, rootCaCertPem, now }: SignCertServices,
  { spki, config, evidence }: VerifiedCsr,
  verified: VerifiedEvidence,
  boot: AuthorizedBoot,
): Promise<string[]> {
  const appCaScalar = deriveAppCaScalar(rootKeys, boot);
  try {
    return await issueAppChain({
      root: rootKeys,
      rootCaCertPem,
      appCaScalar,
      appId: boot.info.appId,
      spki,
      config,
      appInfo: config.withAppInfo ? appInfoOf(verified) : undefined,
      evidence: config.withEvidence ? encodeEvidence(stripEvidence(evidence)) : undefined,
      now: now(),
    });
  } finally {
    wipe(appCaScalar);
  }
}
