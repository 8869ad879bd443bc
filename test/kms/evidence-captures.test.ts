/** Every published number of every real guest, through verification and appraisal. */
import { describe, expect, test } from "vitest";
import { appraiseBoot } from "../../kms/attestation/appraise.ts";
import { replayEvents } from "../../kms/attestation/events.ts";
import { encodeEvidence, stripEvidence } from "../../kms/attestation/evidence.ts";
import { toHex } from "../../kms/bytes.ts";
import { captures } from "../support/captures.ts";
import { realCollateral, verifyReal } from "../support/real-evidence.ts";

test("there are five guests", () => expect(captures).toHaveLength(5));

describe.each(captures)("the guest of $file", ({ evidence, vmConfig, facts, accepted }) => {
  const collateral = realCollateral(accepted.collateral);
  const real = { evidence, vmConfig, collateral, now: new Date(accepted.at) };
  const verified = verifyReal(real);

  test.each(["runtime", "boottime"] as const)("has the published measurements at %s", (mode) => {
    const { info } = appraiseBoot(verified, { vmConfig, mode });
    const numbers = facts[mode];
    expect([toHex(info.mrSystem), toHex(info.mrAggregated)]).toEqual([numbers.mr_system, numbers.mr_aggregated]);
    const provider = mode === "runtime" ? facts.key_provider_info_hex : numbers.key_provider_info_hex;
    expect(toHex(info.keyProviderInfo)).toBe(provider);
  });

  test("has the published identity", () => {
    const { info } = appraiseBoot(verified, { vmConfig, mode: "runtime" });
    expect([info.appId, info.composeHash, info.instanceId, info.osImageHash, info.deviceId].map(toHex)).toEqual([
      facts.app_id,
      facts.compose_hash,
      facts.instance_id,
      facts.os_image_hash,
      facts.device_id_if_verified,
    ]);
    expect([info.teeVariant, info.tcbStatus, info.advisoryIds]).toEqual([
      facts.tee_variant,
      accepted.status,
      accepted.advisory_ids,
    ]);
  });

  test("has the published events and the published RTMR3 at the end of its boot", () => {
    const { runtimeEvents } = evidence.stack;
    expect(runtimeEvents.map(({ event }) => event)).toEqual(facts.events);
    expect(toHex(replayEvents(runtimeEvents, "sha384", "boottime"))).toBe(facts.rtmr3_at_boot_mr_done);
  });

  test("has the same numbers in the form for certificates, in either envelope", () => {
    for (const wire of ["v0", "v1"] as const) {
      const stripped = { ...stripEvidence(evidence), wire };
      expect(encodeEvidence(stripped).length).toBeLessThan(encodeEvidence({ ...evidence, wire }).length + 1);
      const { info } = appraiseBoot(verifyReal({ ...real, evidence: stripped }), { vmConfig, mode: "runtime" });
      expect(toHex(info.mrAggregated)).toBe(facts.runtime.mr_aggregated);
    }
  });
});
