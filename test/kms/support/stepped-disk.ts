/** A disk of the collateral folder on which a test decides at each operation whether it happens, and of a write whether half of it does. */
import { type CollateralDisk, systemCollateralDisk as real } from "../../../kms/attestation/tdx/collateral-disk.ts";

export type Step = (work: () => Promise<void>, partly?: () => Promise<void>) => Promise<void>;

export function steppedDisk(step: Step): CollateralDisk {
  return {
    makeFolder: (path) => step(() => real.makeFolder(path)),
    write: (path, content) =>
      step(
        () => real.write(path, content),
        () => real.write(path, content.subarray(0, content.length / 2)),
      ),
    sync: (path) => step(() => real.sync(path)),
    rename: (from, to) => step(() => real.rename(from, to)),
    remove: (path) => step(() => real.remove(path)),
  };
}
