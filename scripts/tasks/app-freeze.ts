/** Freezes the policy of an app for good. */
import { app, type OwnerArguments, ownerAction } from "../lib/owner-change.ts";
import { freezePlan } from "../lib/stops.ts";

export default ownerAction("app freeze", app, (_: OwnerArguments) => freezePlan);
