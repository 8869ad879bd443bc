/** A decision of the policy is good for a bounded time from the moment of asking; nothing is released on an older one. */
import { beforeEach, describe, expect, test } from "vitest";
import { type Authority, createAuthority, MAX_DECISION_AGE_MS } from "../../kms/authorization/authority.ts";
import type { Role } from "../../kms/authorization/authorized-boot.ts";
import type { Decision, Policy } from "../../kms/authorization/policy.ts";
import { appraised, bootInfo } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";

const own = appraised({ appId: new Uint8Array(20).fill(0xaa) });
const slow = MAX_DECISION_AGE_MS + 1;
const allowed: Decision = { allowed: true, gatewayAppId: "any" };
const no: Decision = { allowed: false, reason: "KMS is paused", unavailable: false };

interface Answer {
  readonly takes?: number;
  readonly decision?: Decision;
}

let clock: number;
let asked: (Role | "self")[];
let measuring: number;
/** Answers to come, for callers and for this KMS itself; when they are used up, a yes at once. */
let answers: { self: Answer[]; app: Answer[] };
let authority: Authority;

beforeEach(() => {
  clock = 1_000;
  asked = [];
  measuring = 0;
  answers = { self: [], app: [] };
  const policy: Policy = {
    async ask(role, info) {
      const who = info === own.info ? "self" : role;
      asked.push(who);
      const { takes = 0, decision = allowed } = (who === "self" ? answers.self : answers.app).shift() ?? {};
      const end = clock + takes;
      await Promise.resolve(); // questions asked together wait together
      clock = Math.max(clock, end);
      return decision;
    },
    info: () => Promise.reject(new Error("not asked")),
  };
  const measure = () => {
    clock += measuring;
  };
  authority = createAuthority({ policy, measure, selfBoot: async () => own, clock: () => clock });
});

/** What a method does before it releases a key. */
async function release() {
  await authority.authorizeSelf();
  const boot = await authority.authorizeApp(appraised());
  expect(clock - boot.askedAt).toBeLessThanOrEqual(MAX_DECISION_AGE_MS);
  return asked;
}

describe("a key is released", () => {
  test("after one answer each, when they are quick", async () => {
    expect(await release()).toEqual(["self", "app"]);
  });

  test("after both were asked again, when measuring was slow", async () => {
    measuring = slow;
    expect(await release()).toEqual(["self", "app", "app", "self"]);
  });

  test("after the policy was slow once", async () => {
    answers.app = [{ takes: slow }];
    expect(await release()).toEqual(["self", "app", "app", "self"]);
    answers.self = [{ takes: slow }];
    asked.length = 0;
    expect(await release()).toEqual(["self", "self", "app"]);
  });

  test("after answers that are each in time but old together", async () => {
    answers = { self: [{ takes: 3_000 }], app: [{ takes: 3_000 }] };
    expect(await release()).toEqual(["self", "app", "app", "self"]);
  });
});

describe("no key is released", () => {
  const late = "the policy's answer came more than 5000 ms after it was asked for, twice";

  test("when the policy is slow twice", async () => {
    answers.app = [{ takes: slow }, { takes: slow }];
    expect(await refusal(release())).toEqual({ code: "unavailable.webhook", message: `Boot denied: ${late}` });
  });

  test("when the policy is slow twice about this KMS itself", async () => {
    answers.self = [{ takes: slow }, { takes: slow }];
    const message = `KMS self authorization failed: KMS is not allowed: ${late}`;
    expect(await refusal(authority.authorizeSelf())).toEqual({ code: "unavailable.webhook", message });
    answers.self = [{ takes: slow }, { takes: slow }];
    expect((await refusal(authority.authorizeBootstrap("bootstrap"))).code).toBe("unavailable.webhook");
  });

  test("when the policy takes back this KMS's permission while the image is measured", async () => {
    measuring = slow;
    answers.self = [{}, { decision: no }];
    expect(await refusal(release())).toEqual({
      code: "denied.self",
      message: "KMS self authorization failed: KMS is not allowed: KMS is paused",
    });
  });

  test("when another request learned meanwhile that this KMS is no longer allowed", async () => {
    await authority.authorizeSelf();
    answers.self = [{ decision: no }, { decision: no }];
    await refusal(authority.authorizeSelf());
    expect((await refusal(authority.authorizeApp(appraised()))).code).toBe("denied.self");
  });
});

describe("the source of root keys", () => {
  const ask = () => authority.authorizeSource(bootInfo());

  test("is allowed after a late yes only when the next one is in time", async () => {
    answers.app = [{ takes: slow }];
    await ask();
    expect(asked).toEqual(["kms", "kms"]);
  });

  test("is refused after two late answers, and after a no at the second asking", async () => {
    answers.app = [{ takes: slow }, { takes: slow }];
    expect((await refusal(ask())).code).toBe("unavailable.webhook");
    answers.app = [{ takes: slow }, { decision: no }];
    expect(await refusal(ask())).toEqual({
      code: "denied.policy",
      message: "Source KMS is not allowed for onboarding: boot denied: KMS is paused",
    });
  });
});
