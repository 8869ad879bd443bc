/** Accepts an advisory beside an accepted TCB status, for one app. */
import { app, type OwnerArguments, ownerAction } from "../lib/owner-change.ts";
import { advisoryPlan } from "../lib/tcb-acceptance.ts";

export default ownerAction("app accept-advisory", app, ({ advisory }: OwnerArguments & { readonly advisory: string }) =>
  advisoryPlan(advisory, true),
);
