/** A verification made earlier counts only while everything that it rests on is what it was. */
import { describe, expect, test } from "vitest";
import { appraiseBoot } from "../../kms/attestation/appraise.ts";
import { createStands } from "../../kms/attestation/standing.ts";
import { intelSgxRootCa, loadTrustAnchor, type TrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import type { VerifiedEvidence } from "../../kms/attestation/verifier.ts";
import type { AuthorizedBoot } from "../../kms/authorization/authorized-boot.ts";
import { liteAttestation, verifyReal } from "../support/real-evidence.ts";
import { simulatedPlatform } from "../support/simulated-td.ts";

const real = liteAttestation();
const evidence = verifyReal(real);
const secondMs = 1_000;

interface World {
  readonly anchor?: TrustAnchor;
  readonly isCurrent?: boolean;
  readonly at?: number;
}

function standsIn({ anchor = intelSgxRootCa, isCurrent = true, at = real.now.getTime() }: World): boolean {
  return createStands({ tdxRoot: anchor, isCurrent: () => isCurrent, now: () => new Date(at) })(evidence);
}

describe("a verification", () => {
  const end = evidence.quote.endsAt * secondMs;

  test.each<[string, World, boolean]>([
    ["stands at its own time", {}, true],
    ["stands until the first of its parts ends", { at: end - 1 }, true],
    ["falls when the first of its parts ends", { at: end }, false],
    ["falls when the clock is set back", { at: real.now.getTime() - 1 }, false],
    ["falls when its collateral is replaced or due", { isCurrent: false }, false],
    ["falls under another trust anchor", { anchor: loadTrustAnchor(simulatedPlatform().rootDer) }, false],
    [
      "falls under the same root loaded anew, as nothing is carried over a change",
      { anchor: loadTrustAnchor(intelSgxRootCa.certificate.raw) },
      false,
    ],
  ])("%s", (_name, world, expected) => {
    expect(standsIn(world)).toBe(expected);
  });

  test("ends no later than any part of its collateral", () => {
    const { tcbInfo, qeIdentity } = real.collateral;
    for (const text of [tcbInfo, qeIdentity]) {
      expect(evidence.quote.endsAt).toBeLessThanOrEqual(Date.parse(JSON.parse(text).nextUpdate) / secondMs);
    }
  });
});

test("a copy made by spreading is no proof, as the compiler sees it", () => {
  const boot = appraiseBoot(evidence, { vmConfig: "", mode: "runtime" });
  // @ts-expect-error the copy lacks what only the verifier gives
  const copied: VerifiedEvidence = { ...evidence };
  // @ts-expect-error
  const changed: typeof boot = { ...boot, info: { ...boot.info, appId: new Uint8Array(20) } };
  // @ts-expect-error
  const invented: AuthorizedBoot = { info: boot.info, gatewayAppId: "any", role: "app", askedAt: 0 };
  expect([copied, changed, invented]).toHaveLength(3);
});
