/** KMS.GetKmsKey: hands the root keys themselves to another KMS that the policy allows. */
import { appraiseBoot } from "../attestation/appraise.ts";
import { type BootInfoHex, bootInfoHex } from "../attestation/boot-info.ts";
import type { VerifiedEvidence } from "../attestation/verifier.ts";
import type { Authority } from "../authorization/authority.ts";
import { fromUtf8 } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { wipe } from "../keys/kdf.ts";
import { encodeKeyPem } from "../keys/key-pem.ts";
import type { RootKeys } from "../keys/root-keys.ts";
import { needReleaseGate, type ReleaseGates } from "./release-gates.ts";

export interface GetKmsKeyServices {
  readonly authority: Authority;
  readonly rootKeys: RootKeys;
  readonly tempCaKeyPem: string;
  readonly gates: ReleaseGates;
  /** Told who gets the root keys before they leave: no copy without a record, so a record that fails keeps them here. */
  readonly recordRelease: (receiver: BootInfoHex) => void;
}

export async function getKmsKey(
  services: GetKmsKeyServices,
  input: { readonly vmConfig: string },
  caller: VerifiedEvidence | undefined,
) {
  await services.authority.authorizeSelf();
  if (caller === undefined) throw new KmsError("unproven.no-evidence", "No attestation provided");
  const boot = await services.authority.authorizeKms(appraiseBoot(caller, { vmConfig: input.vmConfig, mode: "runtime" }));
  needReleaseGate(services.gates, boot.info.teeVariant);
  services.recordRelease(bootInfoHex(boot.info));
  return {
    temp_ca_key: services.tempCaKeyPem,
    keys: [{ ca_key: caKeyText(services.rootKeys), k256_key: services.rootKeys.k256Key }],
  };
}

/** The message has PEM text here, so this is the one place where a root key is a string: as late and as short as can be. */
function caKeyText(rootKeys: RootKeys): string {
  const pem = encodeKeyPem(rootKeys.caScalar);
  try {
    return fromUtf8(pem, "root CA key", "fault.internal");
  } finally {
    wipe(pem);
  }
}
