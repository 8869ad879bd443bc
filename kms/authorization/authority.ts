/** Authorizes callers and this KMS itself: the policy is asked every time, and no decision is used that is older than the bound. */
import type { AppraisedBoot } from "../attestation/appraise.ts";
import type { BootInfo } from "../attestation/boot-info.ts";
import { inContext, KmsError } from "../errors.ts";
import { type AuthorizedBoot, askAboutCaller, type Role, refused } from "./authorized-boot.ts";
import type { Policy, PolicyInfo } from "./policy.ts";
import type { SelfBoot } from "./self-boot.ts";

/** Between asking the policy and the release of a key no more than this may pass. */
export const MAX_DECISION_AGE_MS = 5_000;

export interface AuthoritySettings {
  readonly policy: Policy;
  /** Compares the measurements with the claimed OS image; undefined = `core.image.verify` is off. */
  readonly measure: ((boot: AppraisedBoot) => void | Promise<void>) | undefined;
  /** Undefined = `core.enforce_self_authorization` is off. */
  readonly selfBoot: SelfBoot | undefined;
  /** Milliseconds that no host can set back: by the date an old decision could be made young. */
  readonly clock: () => number;
}

export interface Authority {
  /** `own` is the question about this KMS where that is still out: nothing is measured, and nobody authorized, before its yes. */
  authorizeApp(boot: AppraisedBoot, own?: Promise<unknown>): Promise<AuthorizedBoot>;
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
  const { policy, selfBoot, clock } = settings;
  const self = selfBoot && createSelfAuthority(policy, selfBoot, clock);
  const beforeKeys = selfBoot && createSelfAuthority(policy, selfBoot, clock);
  return {
    authorizeApp: (boot, own) => authorizeCaller(settings, self, "app", boot, own),
    authorizeKms: (boot) => authorizeCaller(settings, self, "kms", boot),
    authorizeSelf: async () => self?.authorize("KMS self authorization failed", "KMS is not allowed"),
    async authorizeBootstrap(act) {
      await beforeKeys?.authorize(`KMS is not allowed to ${act}`, "boot denied");
    },
    authorizeSource: (info) => within("Source KMS is not allowed for onboarding", () => askAboutSource(settings, info)),
    info: () => policy.info(),
  };
}

/**
 * Both questions at once, as neither depends on the other's answer: the one about this KMS, and what `ask` has to ask. A no to the
 * first is what the caller is told, whatever became of the second.
 */
export async function besideSelf<T>(
  authority: Pick<Authority, "authorizeSelf">,
  ask: (own: Promise<unknown>) => Promise<T>,
): Promise<T> {
  const own = authority.authorizeSelf();
  const asked = (async () => ask(own))(); // what it throws at once is a no like any other
  asked.catch(() => undefined); // told below, if at all
  await own;
  return asked;
}

/** Policy first: a stranger must not make this KMS measure or fetch anything. Slow work makes decisions old: then both are asked again. */
async function authorizeCaller(
  settings: AuthoritySettings,
  self: SelfAuthority | undefined,
  role: Role,
  boot: AppraisedBoot,
  own?: Promise<unknown>,
): Promise<AuthorizedBoot> {
  const { policy, clock } = settings;
  const ask = () => askAboutCaller(policy, role, boot, clock);
  const isOld = (boot: AuthorizedBoot) => clock() - boot.askedAt > MAX_DECISION_AGE_MS;
  let [authorized] = await Promise.all([ask(), own]);
  await measured(settings, boot);
  if (isOld(authorized) || self?.isOld() === true) {
    [authorized] = await Promise.all([ask(), self?.authorize("KMS self authorization failed", "KMS is not allowed")]);
  }
  if (isOld(authorized) || self?.isOld() === true) throw tooOld("Boot denied");
  return authorized;
}

async function measured({ measure }: AuthoritySettings, boot: AppraisedBoot): Promise<void> {
  if (measure === undefined || boot.info.teeVariant === "dstack-amd-sev-snp") return;
  // the wire has this phrase twice
  const phrase = "Failed to verify os image hash";
  await within(`${phrase}: ${phrase}`, async () => measure(boot));
}

interface SelfAuthority {
  /** The own boot, allowed by an answer within the bound. */
  authorize(context: string, denial: string): Promise<AppraisedBoot>;
  /** Whether the last answer is older than the bound, or was a no. Never true before the first question. */
  isOld(): boolean;
}

function createSelfAuthority(policy: Policy, selfBoot: SelfBoot, clock: () => number): SelfAuthority {
  // shared by all requests: a no to one of them ends what another was told before
  let last: { readonly askedAt: number; readonly allowed: boolean } | undefined;
  const isOld = () => last !== undefined && !(last.allowed && clock() - last.askedAt <= MAX_DECISION_AGE_MS);

  async function ask(denial: string): Promise<AppraisedBoot> {
    const boot = await within("Failed to load cached self boot info", selfBoot);
    const askedAt = clock();
    const decision = await within("Failed to call self KMS auth check", () => policy.ask("kms", boot.info));
    if (last === undefined || askedAt >= last.askedAt) last = { askedAt, allowed: decision.allowed };
    if (!decision.allowed) throw refused("denied.self", denial, decision);
    return boot;
  }

  return {
    isOld,
    authorize: (context, denial) =>
      within(context, async () => {
        const boot = await ask(denial);
        if (!isOld()) return boot;
        const again = await ask(denial);
        if (isOld()) throw tooOld(denial);
        return again;
      }),
  };
}

/** A yes that comes late is asked for once more. */
async function askAboutSource({ policy, clock }: AuthoritySettings, info: BootInfo): Promise<void> {
  for (let attempt = 1; attempt <= 2; attempt += 1) {
    const askedAt = clock();
    const decision = await policy.ask("kms", info);
    if (!decision.allowed) throw refused("denied.policy", "boot denied", decision);
    if (clock() - askedAt <= MAX_DECISION_AGE_MS) return;
  }
  throw tooOld("boot denied");
}

function tooOld(denial: string): KmsError {
  const limit = `more than ${MAX_DECISION_AGE_MS} ms after it was asked for, twice`;
  return new KmsError("unavailable.webhook", `${denial}: the policy's answer came ${limit}`);
}

async function within<T>(context: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw inContext(context, thrown);
  }
}
