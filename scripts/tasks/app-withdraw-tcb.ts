/** Takes the acceptance of a TCB status back, for one app. */
import { app, type OwnerArguments, ownerAction } from "../lib/owner-change.ts";
import { withdrawTcbPlan } from "../lib/tcb-acceptance.ts";

export default ownerAction("app withdraw-tcb", app, ({ status }: OwnerArguments & { readonly status: string }) =>
  withdrawTcbPlan(status),
);
