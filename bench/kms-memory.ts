/** How much memory the KMS holds while it releases many keys, and whether that grows. */
import type { TlsLoad } from "./kms-rounds.ts";
import type { World } from "./kms-world.ts";
import { residentMiB } from "./processes.ts";

const steps = 10;
const connections = 8;

export interface KmsMemory {
  readonly releases: number;
  /** After each tenth of them. */
  readonly residentMiB: readonly number[];
}

export async function measureKmsMemory({ kms, calls, identities }: World, load: TlsLoad, releases: number): Promise<KmsMemory> {
  const requests = Math.ceil(releases / steps);
  const order = { ...calls.GetAppKey, url: kms.url, identities, from: 0, eachItsOwn: false, kept: true, connections, requests };
  const resident: number[] = [];
  for (let step = 0; step < steps; step++) {
    await load.run(order);
    resident.push((await residentMiB(kms.pid)) ?? Number.NaN);
  }
  return { releases, residentMiB: resident };
}
