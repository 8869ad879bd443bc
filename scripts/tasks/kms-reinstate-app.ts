/** Ends the suspension of an app. */
import { type OwnerArguments, ownerAction, trustDomain } from "../lib/owner-change.ts";
import { suspensionPlan } from "../lib/stops.ts";

export default ownerAction("kms reinstate-app", trustDomain, ({ appId }: OwnerArguments & { readonly appId: string }) =>
  suspensionPlan(appId, false),
);
