/** Authorizes callers and this KMS itself: the policy is asked every time, and an answer that slow work made old is asked again. */
import type { AppraisedBoot } from "../attestation/appraise.ts";
import type { BootInfo } from "../attestation/boot-info.ts";
import { inContext, KmsError } from "../errors.ts";
import type { AuthorizedBoot, Role } from "./authorized-boot.ts";
import type { Decision, Policy, PolicyInfo } from "./policy.ts";
import type { SelfBoot } from "./self-boot.ts";

/** Between the policy's answer and the release of a key no more than this may pass. */
export const MAX_DECISION_AGE_MS = 5_000;

export interface AuthoritySettings {
  readonly policy: Policy;
  /** Compares the measurements with the claimed OS image; undefined = `core.image.verify` is off. */
  readonly measure: ((boot: AppraisedBoot) => void | Promise<void>) | undefined;
  /** Undefined = `core.enforce_self_authorization` is off. */
  readonly selfBoot: SelfBoot | undefined;
  readonly now: () => Date;
}

export interface Authority {
  authorizeApp(boot: AppraisedBoot): Promise<AuthorizedBoot>;
  authorizeKms(boot: AppraisedBoot): Promise<AuthorizedBoot>;
  /** Before every trusted call. The own boot, or undefined when self authorization is off. */
  authorizeSelf(): Promise<AppraisedBoot | undefined>;
  /** Before root keys are made. */
  authorizeBootstrap(act: "bootstrap" | "auto-bootstrap"): Promise<void>;
  /** Before root keys are taken from another KMS: of this side's policy, whatever the source's own says. */
  authorizeSource(info: BootInfo): Promise<void>;
  info(): Promise<PolicyInfo>;
}

export function createAuthority(settings: AuthoritySettings): Authority {
  const { policy, selfBoot } = settings;
  return {
    authorizeApp: (boot) => authorizeCaller(settings, "app", boot),
    authorizeKms: (boot) => authorizeCaller(settings, "kms", boot),
    async authorizeSelf() {
      if (selfBoot === undefined) return undefined;
      return within("KMS self authorization failed", async () => {
        const { boot, decision } = await askAboutSelf(policy, selfBoot);
        if (!decision.allowed) throw denied("denied.self", "KMS is not allowed", decision);
        return boot;
      });
    },
    async authorizeBootstrap(act) {
      if (selfBoot === undefined) return;
      await within(`KMS is not allowed to ${act}`, async () => {
        const { decision } = await askAboutSelf(policy, selfBoot);
        if (!decision.allowed) throw denied("denied.self", "boot denied", decision);
      });
    },
    async authorizeSource(info) {
      await within("Source KMS is not allowed for onboarding", async () => {
        const decision = await policy.ask("kms", info);
        if (!decision.allowed) throw denied("denied.policy", "boot denied", decision);
      });
    },
    info: () => policy.info(),
  };
}

/** Policy first: a stranger must not make this KMS measure or fetch anything. */
async function authorizeCaller(settings: AuthoritySettings, role: Role, boot: AppraisedBoot): Promise<AuthorizedBoot> {
  let authorized = await askAboutCaller(settings, role, boot);
  if (settings.measure !== undefined && boot.info.teeVariant !== "dstack-amd-sev-snp") {
    const { measure } = settings;
    // the wire has this phrase twice
    const phrase = "Failed to verify os image hash";
    await within(`${phrase}: ${phrase}`, async () => measure(boot));
  }
  const age = settings.now().getTime() - authorized.decidedAt.getTime();
  if (age > MAX_DECISION_AGE_MS || age < 0) authorized = await askAboutCaller(settings, role, boot);
  return authorized;
}

async function askAboutCaller(settings: AuthoritySettings, role: Role, boot: AppraisedBoot): Promise<AuthorizedBoot> {
  const decidedAt = settings.now(); // the time of asking: the answer may have been made at once and come late
  const decision = await settings.policy.ask(role, boot.info);
  if (!decision.allowed) throw denied("denied.policy", "Boot denied", decision);
  return { info: boot.info, gatewayAppId: decision.gatewayAppId, role, decidedAt } as AuthorizedBoot;
}

async function askAboutSelf(policy: Policy, selfBoot: SelfBoot): Promise<{ boot: AppraisedBoot; decision: Decision }> {
  const boot = await within("Failed to load cached self boot info", selfBoot);
  const decision = await within("Failed to call self KMS auth check", () => policy.ask("kms", boot.info));
  return { boot, decision };
}

/** The text is the wire's in both cases; only the code tells a policy that said no from one that could not be read. */
function denied(code: "denied.policy" | "denied.self", text: string, decision: Decision & { allowed: false }): KmsError {
  return new KmsError(decision.unavailable ? "unavailable.webhook" : code, `${text}: ${decision.reason}`);
}

async function within<T>(context: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw inContext(context, thrown);
  }
}
