/** Lets a trust domain answer again. */
import { type OwnerArguments, ownerAction, trustDomain } from "../lib/owner-change.ts";
import { pausePlan } from "../lib/stops.ts";

export default ownerAction("kms unpause", trustDomain, (_: OwnerArguments) => pausePlan(false));
