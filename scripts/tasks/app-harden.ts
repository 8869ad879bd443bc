/** Shows and sets the switches of an app. */
import { hardenAction } from "../lib/harden-action.ts";
import { appSwitches } from "../lib/hardening.ts";
import { app } from "../lib/owner-change.ts";

export default hardenAction("app harden", { ...app, switches: appSwitches });
