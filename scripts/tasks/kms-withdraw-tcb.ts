/** Takes the acceptance of a TCB status back, for KMS nodes. */
import { type OwnerArguments, ownerAction, trustDomain } from "../lib/owner-change.ts";
import { withdrawTcbPlan } from "../lib/tcb-acceptance.ts";

export default ownerAction("kms withdraw-tcb", trustDomain, ({ status }: OwnerArguments & { readonly status: string }) =>
  withdrawTcbPlan(status),
);
