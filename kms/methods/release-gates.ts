/** Platforms to which keys are released only when the operator says so. */
import type { TeeVariant } from "../attestation/boot-info.ts";
import { KmsError } from "../errors.ts";

export interface ReleaseGates {
  readonly sevSnpKeyRelease: boolean;
  readonly awsNitroTpmKeyRelease: boolean;
}

export function needReleaseGate(gates: ReleaseGates, platform: TeeVariant): void {
  if (platform === "dstack-amd-sev-snp" && !gates.sevSnpKeyRelease) {
    throw new KmsError("denied.release-gate", "amd sev-snp key release is not enabled");
  }
  if (platform === "dstack-aws-nitro-tpm" && !gates.awsNitroTpmKeyRelease) {
    throw new KmsError("denied.release-gate", "aws nitro-tpm key release is not enabled");
  }
}
