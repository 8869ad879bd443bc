/** The two questions of a release go out together: nothing follows before both are answered yes, and a no about this KMS comes first. */
import { setImmediate as turn } from "node:timers/promises";
import { beforeEach, expect, test } from "vitest";
import { decodeEvidence } from "../../kms/attestation/evidence.ts";
import { bindEvidence } from "../../kms/attestation/report-data.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyEvidenceWith } from "../../kms/attestation/verifier.ts";
import { besideSelf, createAuthority } from "../../kms/authorization/authority.ts";
import type { Decision, Policy } from "../../kms/authorization/policy.ts";
import { KmsError } from "../../kms/errors.ts";
import { RootKeys } from "../../kms/keys/root-keys.ts";
import { getAppKey } from "../../kms/methods/get-app-key.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { appraised } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";

const own = appraised({ appId: new Uint8Array(20).fill(0xaa) });
const caller = appraised();
const yes: Decision = { allowed: true, gatewayAppId: "gateway" };
const no = (reason: string): Decision => ({ allowed: false, reason, unavailable: false });
const away = new KmsError("unavailable.webhook", "away");

type Question = "own" | "caller";
let answers: Record<Question, PromiseWithResolvers<Decision>>;
let steps: string[];
beforeEach(() => {
  answers = { own: Promise.withResolvers(), caller: Promise.withResolvers() };
  steps = [];
});

/** Notes what it asks and measures. */
function notingAuthority() {
  const policy: Policy = {
    ask: (_role, info) => {
      const question = info === own.info ? "own" : "caller";
      steps.push(`asked:${question}`);
      return answers[question].promise;
    },
    info: () => Promise.reject(away),
  };
  const measure = () => void steps.push("measured");
  return createAuthority({ policy, measure, selfBoot: async () => own, clock: () => 0 });
}

/** As KMS.GetAppKey asks for a release. */
function release() {
  const authority = notingAuthority();
  return besideSelf(authority, async (self) => {
    const boot = await authority.authorizeApp(caller, self);
    steps.push("authorized");
    return boot;
  });
}

test.each<[Question, Question]>([
  ["own", "caller"],
  ["caller", "own"],
])("both are asked at once, and nothing follows the answer about %s alone", async (first, second) => {
  const released = release();
  await turn();
  expect(steps.toSorted()).toEqual(["asked:caller", "asked:own"]);
  answers[first].resolve(yes);
  await turn();
  expect(steps).toHaveLength(2);
  answers[second].resolve(yes);
  expect((await released).gatewayAppId).toBe("gateway");
  expect(steps.slice(2)).toEqual(["measured", "authorized"]);
});

test.each<[string, Decision | KmsError, Decision | KmsError, string]>([
  ["a no about this KMS, whatever of the caller", no("own"), yes, "denied.self"],
  ["a no about this KMS before one about the caller", no("own"), no("caller"), "denied.self"],
  ["a no about this KMS before an answer that cannot be had", no("own"), away, "denied.self"],
  ["an answer about this KMS that cannot be had", away, no("caller"), "unavailable.webhook"],
  ["a no about the caller", yes, no("caller"), "denied.policy"],
  ["an answer about the caller that cannot be had", yes, away, "unavailable.webhook"],
])("what is told: %s", async (_what, self, app, code) => {
  for (const order of [
    ["own", "caller"],
    ["caller", "own"],
  ] as const) {
    answers = { own: Promise.withResolvers(), caller: Promise.withResolvers() };
    steps = [];
    const refused = refusal(release());
    await turn();
    for (const question of order) {
      const answer = question === "own" ? self : app;
      if (answer instanceof KmsError) answers[question].reject(answer);
      else answers[question].resolve(answer);
      await turn();
    }
    expect((await refused).code).toBe(code);
    expect(steps.filter((step) => !step.startsWith("asked"))).toEqual([]);
  }
});

test("what cannot even be asked is told after a no about this KMS only", async () => {
  for (const [answer, code] of [
    [no("own"), "denied.self"],
    [yes, "unproven.no-evidence"],
  ] as const) {
    const authority = { authorizeSelf: async () => (answer.allowed ? own : Promise.reject(new KmsError("denied.self", "no"))) };
    const nothing = () => {
      throw new KmsError("unproven.no-evidence", "No attestation provided");
    };
    for (const ask of [nothing, async () => nothing()]) expect((await refusal(besideSelf(authority, ask))).code).toBe(code);
  }
});

test("KMS.GetAppKey releases so, and measures nothing for its caller before the yes about this KMS", async () => {
  const now = new Date("2026-06-15T00:00:00Z");
  const platform = simulatedPlatform();
  const td = simulatedTd({ platform });
  const bound = new Uint8Array(64).fill(5);
  const collateral = parseCollateral(collateralJson(platform.collateral(now)));
  const evidence = bindEvidence(decodeEvidence(td.attest(bound)), bound);
  const verified = verifyEvidenceWith(evidence, collateral, loadTrustAnchor(platform.rootDer), now);
  const services = {
    authority: notingAuthority(),
    rootKeys: new RootKeys(new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)),
    rootCaCertPem: "root",
    gates: { sevSnpKeyRelease: false, awsNitroTpmKeyRelease: false },
  };
  const released = getAppKey(services, { apiVersion: 1, vmConfig: td.vmConfig }, verified);
  answers.caller.resolve(yes);
  await turn();
  expect(steps.toSorted()).toEqual(["asked:caller", "asked:own"]);
  answers.own.resolve(yes);
  expect((await released).gateway_app_id).toBe("gateway");
  expect(steps.slice(2)).toEqual(["measured"]);
});
