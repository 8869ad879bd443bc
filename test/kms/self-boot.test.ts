/** This KMS proves itself again on a timer, after a bounded time and as soon as the collateral behind the proof changed. */
import { beforeEach, describe, expect, test } from "vitest";
import type { AppraisedBoot } from "../../kms/attestation/appraise.ts";
import {
  type KeptSelfBoot,
  keepSelfBoot,
  SELF_BOOT_MAX_AGE_MS,
  SELF_BOOT_RENEWAL_MS,
} from "../../kms/authorization/self-boot.ts";
import { type Code, KmsError } from "../../kms/errors.ts";
import { appraised } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";

let clock: number;
let made: number;
let failure: Code | undefined;
let fallen: AppraisedBoot | undefined;
let kept: KeptSelfBoot;

beforeEach(() => {
  clock = 0;
  made = 0;
  failure = undefined;
  fallen = undefined;
  const attest = async () => {
    if (failure !== undefined) throw new KmsError(failure, "no evidence");
    return appraised({ tcbStatus: String(++made) });
  };
  kept = keepSelfBoot({ attest, stands: (boot) => boot !== fallen, clock: () => clock });
});

describe("the own boot", () => {
  test("is shared while it is made and kept for a bounded time", async () => {
    const [first, second] = await Promise.all([kept.current(), kept.current()]);
    expect(first).toBe(second);
    clock = SELF_BOOT_MAX_AGE_MS - 1;
    expect(await kept.current()).toBe(first);
    clock += 1;
    await Promise.all([kept.current(), kept.current()]);
    expect(made).toBe(2);
  });

  test("is made anew when the collateral that backed it was replaced or ended", async () => {
    fallen = await kept.current();
    expect(await kept.current()).not.toBe(fallen);
    expect(made).toBe(2);
  });

  test("is renewed by the timer while callers go on with the one that is kept", async () => {
    const first = await kept.current();
    const renewal = kept.renew();
    expect(await kept.current()).toBe(first);
    await renewal;
    expect(await kept.current()).not.toBe(first);
    expect(SELF_BOOT_RENEWAL_MS).toBeLessThan(SELF_BOOT_MAX_AGE_MS / 2);
  });

  test("outlives a guest agent that is away, but not its bound", async () => {
    const first = await kept.current();
    failure = "unavailable.guest-agent";
    expect((await refusal(kept.renew())).code).toBe(failure);
    expect(await kept.current()).toBe(first);
    clock = SELF_BOOT_MAX_AGE_MS;
    expect((await refusal(kept.current())).code).toBe(failure);
  });

  test.each<Code>(["unproven.tcb-revoked", "fault.internal"])("ends at once with a judgement: %s", async (code) => {
    await kept.current();
    failure = code;
    expect((await refusal(kept.renew())).code).toBe(code);
    expect((await refusal(kept.current())).code).toBe(code);
  });

  test("is tried again after a failure, which is not kept", async () => {
    failure = "unavailable.guest-agent";
    await refusal(kept.current());
    failure = undefined;
    expect(await kept.current()).toBeDefined();
  });
});
