/** Accepts an advisory beside an accepted TCB status, for KMS nodes. */
import { type OwnerArguments, ownerAction, trustDomain } from "../lib/owner-change.ts";
import { advisoryPlan } from "../lib/tcb-acceptance.ts";

export default ownerAction("kms accept-advisory", trustDomain, ({ advisory }: OwnerArguments & { readonly advisory: string }) =>
  advisoryPlan(advisory, true),
);
