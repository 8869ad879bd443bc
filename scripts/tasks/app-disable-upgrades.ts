/** Fixes the code of an app for good. */
import { app, type OwnerArguments, ownerAction } from "../lib/owner-change.ts";
import { disableUpgradesPlan } from "../lib/stops.ts";

export default ownerAction("app disable-upgrades", app, (_: OwnerArguments) => disableUpgradesPlan);
