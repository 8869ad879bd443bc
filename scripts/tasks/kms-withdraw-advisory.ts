/** Takes the acceptance of an advisory back, for KMS nodes. */
import { type OwnerArguments, ownerAction, trustDomain } from "../lib/owner-change.ts";
import { advisoryPlan } from "../lib/tcb-acceptance.ts";

export default ownerAction("kms withdraw-advisory", trustDomain, ({ advisory }: OwnerArguments & { readonly advisory: string }) =>
  advisoryPlan(advisory, false),
);
