/** Takes the acceptance of an advisory back, for one app. */
import { app, type OwnerArguments, ownerAction } from "../lib/owner-change.ts";
import { advisoryPlan } from "../lib/tcb-acceptance.ts";

export default ownerAction("app withdraw-advisory", app, ({ advisory }: OwnerArguments & { readonly advisory: string }) =>
  advisoryPlan(advisory, false),
);
