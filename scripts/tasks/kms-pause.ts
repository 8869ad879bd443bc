/** Stops all answers of a trust domain. */
import { type OwnerArguments, ownerAction, trustDomain } from "../lib/owner-change.ts";
import { pausePlan } from "../lib/stops.ts";

export default ownerAction("kms pause", trustDomain, (_: OwnerArguments) => pausePlan(true));
