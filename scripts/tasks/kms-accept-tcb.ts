/** Accepts a TCB status until a date, for KMS nodes. */
import { type OwnerArguments, ownerAction, trustDomain } from "../lib/owner-change.ts";
import { acceptTcbPlan } from "../lib/tcb-acceptance.ts";

export default ownerAction(
  "kms accept-tcb",
  trustDomain,
  ({ status, until }: OwnerArguments & { readonly status: string; readonly until: string | undefined }) =>
    acceptTcbPlan(status, until),
);
