/** Shows and sets the switches of a trust domain. */
import { hardenAction } from "../lib/harden-action.ts";
import { kmsSwitches } from "../lib/hardening.ts";
import { trustDomain } from "../lib/owner-change.ts";

export default hardenAction("kms harden", { ...trustDomain, switches: kmsSwitches });
