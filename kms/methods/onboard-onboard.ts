/** Onboard.Onboard: makes this KMS a replica of another one. */
import { parseDomain } from "../domain.ts";
import type { Onboard } from "../replication/onboard.ts";

export interface OnboardInput {
  readonly sourceUrl: string;
  readonly domain: string;
}

export async function onboardOnboard(services: { readonly onboard: Onboard }, input: OnboardInput) {
  const domain = parseDomain(input.domain);
  return { k256_pubkey: await services.onboard.from(input.sourceUrl, domain) };
}
