/** Denies an app its keys, whatever its own contract says. */
import { type OwnerArguments, ownerAction, trustDomain } from "../lib/owner-change.ts";
import { suspensionPlan } from "../lib/stops.ts";

export default ownerAction("kms suspend-app", trustDomain, ({ appId }: OwnerArguments & { readonly appId: string }) =>
  suspensionPlan(appId, true),
);
