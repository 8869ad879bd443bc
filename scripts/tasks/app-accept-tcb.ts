/** Accepts a TCB status until a date, for one app. */
import { app, type OwnerArguments, ownerAction } from "../lib/owner-change.ts";
import { acceptTcbPlan } from "../lib/tcb-acceptance.ts";

export default ownerAction(
  "app accept-tcb",
  app,
  ({ status, until }: OwnerArguments & { readonly status: string; readonly until: string | undefined }) =>
    acceptTcbPlan(status, until),
);
