/** Onboard.Bootstrap: makes the root keys of a new KMS, once. */
import { parseDomain } from "../domain.ts";
import type { Bootstrap } from "../replication/bootstrap.ts";

export async function onboardBootstrap(services: { readonly bootstrap: Bootstrap }, input: { readonly domain: string }) {
  return { ...(await services.bootstrap.manual(parseDomain(input.domain))) };
}
