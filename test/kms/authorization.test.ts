import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createAuthClient } from "../../auth-eth/api.ts";
import type { AppraisedBoot } from "../../kms/attestation/appraise.ts";
import { bootInfoHex } from "../../kms/attestation/boot-info.ts";
import { type Authority, createAuthority, MAX_DECISION_AGE_MS } from "../../kms/authorization/authority.ts";
import { createDevPolicy, createWebhookPolicy, type Policy } from "../../kms/authorization/policy.ts";
import { KmsError } from "../../kms/errors.ts";
import { appraised, bootInfo } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";
import { allowBody, denyBody, infoBody, type StubWebhook, startWebhook } from "./support/webhook.ts";

let webhook: StubWebhook;
let policy: Policy;
let clock: number;
const own = appraised({ appId: new Uint8Array(20).fill(0xaa) });

beforeAll(async () => {
  webhook = await startWebhook();
});
afterAll(() => webhook.close());
beforeEach(() => {
  webhook.calls.length = 0;
  webhook.answer = { status: 200, body: allowBody };
  clock = 1_700_000_000_000;
  policy = createWebhookPolicy(createAuthClient({ url: webhook.url, deadlineMs: 2_000, userAgent: "dstack-kms/0.0.0" }));
});

function authority(
  options: { measure?: (boot: AppraisedBoot) => void; selfBoot?: () => Promise<AppraisedBoot> } = {},
): Authority {
  return createAuthority({ policy, measure: options.measure, selfBoot: options.selfBoot, clock: () => clock });
}

describe("the request", () => {
  test("has the members of the wire in their order, as hex without prefix", async () => {
    await authority().authorizeApp(appraised());
    const [call] = webhook.calls;
    expect(call).toMatchObject({
      method: "POST",
      path: "/bootAuth/app",
      contentType: "application/json",
      userAgent: "dstack-kms/0.0.0",
    });
    const hex = (length: number, byte: string) => byte.repeat(length);
    expect(call?.body).toBe(
      `{"teeVariant":"dstack-tdx","mrAggregated":"${hex(32, "01")}","osImageHash":"${hex(32, "02")}",` +
        `"mrSystem":"${hex(32, "03")}","appId":"${hex(20, "04")}","composeHash":"${hex(32, "05")}",` +
        `"instanceId":"${hex(20, "06")}","deviceId":"${hex(32, "07")}","keyProviderInfo":"7b7d",` +
        '"tcbStatus":"UpToDate","advisoryIds":["INTEL-SA-00001"]}',
    );
  });

  test("writes empty bytes as empty text", () => {
    expect(bootInfoHex(bootInfo({ instanceId: new Uint8Array(), keyProviderInfo: new Uint8Array() }))).toMatchObject({
      instanceId: "",
      keyProviderInfo: "",
    });
  });

  test("asks about a KMS on its own path", async () => {
    const boot = await authority().authorizeKms(appraised());
    expect(webhook.calls.map((call) => call.path)).toEqual(["/bootAuth/kms"]);
    expect(boot).toMatchObject({ role: "kms", gatewayAppId: "gateway", askedAt: clock });
  });
});

describe("the answer", () => {
  test.each([
    ["a denial", denyBody("Compose hash not allowed"), "denied.policy", "Boot denied: Compose hash not allowed"],
    [
      "a backend that cannot be read",
      denyBody("authorization backend unavailable"),
      "unavailable.webhook",
      "Boot denied: authorization backend unavailable",
    ],
  ])("%s is refused with its own code", async (_, body, code, message) => {
    webhook.answer.body = body;
    expect(await refusal(authority().authorizeApp(appraised()))).toEqual({ code, message });
  });

  test("a reason that only resembles the text for an unreadable backend is a denial", async () => {
    webhook.answer.body = denyBody("Authorization backend unavailable");
    expect((await refusal(authority().authorizeApp(appraised()))).code).toBe("denied.policy");
  });

  test.each([
    ["an app contract's words for an outage", "authorization backend unavailable", "denied.other", "denied.policy"],
    ["an outage in other words", "try later", "unavailable.rpc-timeout", "unavailable.webhook"],
  ])("the webhook's code is believed over its reason: %s", async (_, reason, code, expected) => {
    webhook.answer.body = JSON.stringify({ ...JSON.parse(denyBody(reason)), code });
    expect((await refusal(authority().authorizeApp(appraised()))).code).toBe(expected);
  });

  test.each([
    ["another status", 500, allowBody],
    ["no JSON", 200, "yes"],
    ["a missing member", 200, '{"isAllowed":true,"reason":""}'],
    ["text for the verdict", 200, '{"isAllowed":"true","gatewayAppId":"","reason":""}'],
    ["nothing", 200, ""],
  ])("%s is no permission", async (_, status, body) => {
    webhook.answer = { status, body };
    expect((await refusal(authority().authorizeApp(appraised()))).code).toBe("unavailable.webhook");
  });

  test("a webhook that is down is unavailable, not a denial", async () => {
    policy = createWebhookPolicy(createAuthClient({ url: "http://127.0.0.1:1", deadlineMs: 2_000 }));
    expect((await refusal(authority().authorizeApp(appraised()))).code).toBe("unavailable.webhook");
    expect((await refusal(authority().info())).code).toBe("unavailable.webhook");
  });
});

describe("the OS image", () => {
  test("is measured only after the policy allowed the caller", async () => {
    webhook.answer.body = denyBody("App not registered");
    let measured = 0;
    const measure = () => {
      measured += 1;
    };
    await refusal(authority({ measure }).authorizeApp(appraised()));
    expect(measured).toBe(0);
    webhook.answer.body = allowBody;
    await authority({ measure }).authorizeApp(appraised());
    await authority({ measure }).authorizeApp(appraised({ teeVariant: "dstack-amd-sev-snp" }));
    expect(measured).toBe(1);
  });

  test("that does not match is refused with the text of the wire", async () => {
    const measure = () => {
      throw new KmsError("unproven.os-image", "MRTD mismatch: expected=00, actual=01");
    };
    expect(await refusal(authority({ measure }).authorizeApp(appraised()))).toEqual({
      code: "unproven.os-image",
      message: "Failed to verify os image hash: Failed to verify os image hash: MRTD mismatch: expected=00, actual=01",
    });
  });

  test.each([
    ["quick", MAX_DECISION_AGE_MS, 1],
    ["slow", MAX_DECISION_AGE_MS + 1, 2],
  ])("when measuring is %s, the policy is asked as often as needed", async (_, elapsed, asked) => {
    const measure = () => {
      clock += elapsed;
    };
    await authority({ measure }).authorizeApp(appraised());
    expect(webhook.calls).toHaveLength(asked);
  });

  test("a policy that changed its mind while measuring denies", async () => {
    const measure = () => {
      clock += MAX_DECISION_AGE_MS + 1;
      webhook.answer.body = denyBody("Compose hash not allowed");
    };
    expect((await refusal(authority({ measure }).authorizeApp(appraised()))).code).toBe("denied.policy");
  });
});

describe("self authorization", () => {
  const selfBoot = async () => own;

  test("asks about this KMS on every call and answers its boot", async () => {
    const self = authority({ selfBoot });
    expect(await self.authorizeSelf()).toBe(own);
    await self.authorizeSelf();
    expect(webhook.calls.map((call) => call.path)).toEqual(["/bootAuth/kms", "/bootAuth/kms"]);
    expect(webhook.calls[0]?.body).toContain(`"appId":"${"aa".repeat(20)}"`);
  });

  test("does not ask when it is switched off", async () => {
    expect(await authority().authorizeSelf()).toBeUndefined();
    await authority().authorizeBootstrap("bootstrap");
    expect(webhook.calls).toEqual([]);
  });

  test("a denial has the texts of the wire", async () => {
    webhook.answer.body = denyBody("KMS MR not allowed");
    const self = authority({ selfBoot });
    expect(await refusal(self.authorizeSelf())).toEqual({
      code: "denied.self",
      message: "KMS self authorization failed: KMS is not allowed: KMS MR not allowed",
    });
    expect(await refusal(self.authorizeBootstrap("bootstrap"))).toEqual({
      code: "denied.self",
      message: "KMS is not allowed to bootstrap: boot denied: KMS MR not allowed",
    });
    expect((await refusal(self.authorizeBootstrap("auto-bootstrap"))).message).toContain("not allowed to auto-bootstrap: boot");
  });

  test("without a guest agent or a webhook it fails closed, saying which", async () => {
    const down = async () => {
      throw new KmsError("unavailable.guest-agent", "Failed to get local KMS attestation: no socket");
    };
    expect(await refusal(authority({ selfBoot: down }).authorizeSelf())).toEqual({
      code: "unavailable.guest-agent",
      message:
        "KMS self authorization failed: Failed to load cached self boot info: Failed to get local KMS attestation: no socket",
    });
    webhook.answer = { status: 503, body: "down" };
    const failed = await refusal(authority({ selfBoot }).authorizeSelf());
    expect(failed.code).toBe("unavailable.webhook");
    expect(failed.message).toMatch(/^KMS self authorization failed: Failed to call self KMS auth check: auth api .* 503: down$/);
  });
});

describe("dev mode", () => {
  test("allows without asking and says what it is", async () => {
    const dev = createAuthority({ policy: createDevPolicy("any"), measure: undefined, selfBoot: undefined, clock: () => 0 });
    expect(await dev.authorizeApp(appraised())).toMatchObject({ gatewayAppId: "any" });
    expect(await dev.info()).toMatchObject({ isDev: true, gatewayAppId: "any", chainId: undefined });
  });
});

test("the webhook's description is read whole", async () => {
  webhook.answer.body = JSON.stringify({
    status: "ok",
    kmsContractAddr: "0xabc",
    gatewayAppId: "gw",
    chainId: 31337,
    appImplementation: "0xdef",
    ethRpcUrl: "http://127.0.0.1:8545",
  });
  expect(await authority().info()).toEqual({
    isDev: false,
    gatewayAppId: "gw",
    kmsContractAddress: "0xabc",
    chainId: 31337n,
    appImplementation: "0xdef",
    ethRpcUrl: "http://127.0.0.1:8545",
    registeredKeys: undefined,
  });
});

test.each([
  [
    { k256Pubkey: "0x02AA", caPubkey: "3059" },
    { k256Pubkey: "02aa", caPubkey: "3059" },
  ],
  [
    { k256Pubkey: "02aa", caPubkey: "" },
    { k256Pubkey: "02aa", caPubkey: "" },
  ],
  [{ k256Pubkey: "0x", caPubkey: "" }, null],
  [null, null],
])("registered keys %j in the webhook's description are read as %j", async (kmsInfo, registeredKeys) => {
  webhook.answer.body = JSON.stringify({ ...JSON.parse(infoBody), kmsInfo });
  expect(await authority().info()).toMatchObject({ registeredKeys });
});

describe("the source of root keys", () => {
  test("is asked about as a KMS, also where this KMS does not ask about itself", async () => {
    await authority().authorizeSource(bootInfo());
    expect(webhook.calls.at(-1)).toMatchObject({ method: "POST", path: "/bootAuth/kms" });
  });

  test.each([
    [denyBody("KMS MR not allowed"), "denied.policy", "boot denied: KMS MR not allowed"],
    [denyBody("authorization backend unavailable"), "unavailable.webhook", "boot denied: authorization backend unavailable"],
  ])("is refused after %s", async (body, code, text) => {
    webhook.answer.body = body;
    const message = `Source KMS is not allowed for onboarding: ${text}`;
    expect(await refusal(authority().authorizeSource(bootInfo()))).toEqual({ code, message });
  });
});
