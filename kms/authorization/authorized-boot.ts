/** The proof that the owner's policy allowed a boot. Keys are derived from nothing else, and only the authority makes one. */
import type { BootInfo } from "../attestation/boot-info.ts";

declare const authorized: unique symbol;

export type Role = "app" | "kms";

export interface AuthorizedBoot {
  readonly [authorized]: true;
  readonly info: BootInfo;
  readonly gatewayAppId: string;
  readonly role: Role;
  /** When the policy was last asked. */
  readonly decidedAt: Date;
}
