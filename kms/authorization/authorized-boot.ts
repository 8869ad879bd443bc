/** The proof that the owner's policy allowed a boot. Keys are derived from nothing else, and only an answer of the policy makes one. */
import type { AppraisedBoot } from "../attestation/appraise.ts";
import type { BootInfo } from "../attestation/boot-info.ts";
import { KmsError } from "../errors.ts";
import type { Decision, Policy } from "./policy.ts";

export type Role = "app" | "kms";

/** A class, and not exported: only this file makes one, and a copy made by spreading is none. */
class Authorized {
  declare protected readonly brand: true;
  readonly info: BootInfo;
  readonly gatewayAppId: string;
  readonly role: Role;
  /** When the policy was last asked, on the clock of the authority. */
  readonly askedAt: number;

  constructor(info: BootInfo, gatewayAppId: string, role: Role, askedAt: number) {
    this.info = info;
    this.gatewayAppId = gatewayAppId;
    this.role = role;
    this.askedAt = askedAt;
  }
}

export type AuthorizedBoot = Authorized;

/** Asks about a caller; anything but a yes throws. The time is that of asking: an answer may have been made at once and come late. */
export async function askAboutCaller(
  policy: Policy,
  role: Role,
  boot: AppraisedBoot,
  clock: () => number,
): Promise<AuthorizedBoot> {
  const askedAt = clock();
  const decision = await policy.ask(role, boot.info);
  if (!decision.allowed) throw refused("denied.policy", "Boot denied", decision);
  return new Authorized(boot.info, decision.gatewayAppId, role, askedAt);
}

/** The text is the wire's in both cases; only the code tells a policy that said no from one that could not be read. */
export function refused(code: "denied.policy" | "denied.self", text: string, decision: Decision & { allowed: false }): KmsError {
  return new KmsError(decision.unavailable ? "unavailable.webhook" : code, `${text}: ${decision.reason}`);
}
