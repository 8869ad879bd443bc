/** A version-1 event is hashed as name, colon, payload: where the name ends must not be the bearer's choice. */
import { describe, expect, test } from "vitest";
import { appraiseBoot } from "../../kms/attestation/appraise.ts";
import { type Evidence, type RuntimeEvent, stripEvidence } from "../../kms/attestation/evidence.ts";
import { bindEvidence } from "../../kms/attestation/report-data.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyEvidenceWith } from "../../kms/attestation/verifier.ts";
import { fromUtf8, utf8 } from "../../kms/bytes.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";

const now = new Date("2026-06-15T00:00:00Z");
const zeros = new Uint8Array(64);
const platform = simulatedPlatform();
const collateral = parseCollateral(collateralJson(platform.collateral(now)));

function startedTd(eventVersion: 1 | 2 = 1) {
  const td = simulatedTd({ platform, keyProvider: '{"name":"local-sgx","id":"00"}', eventVersion });
  td.measure("my-app:started", utf8("yes"));
  return td;
}

function verify(evidence: Evidence) {
  return verifyEvidenceWith(bindEvidence(evidence, zeros), collateral, loadTrustAnchor(platform.rootDer), now);
}

/** The same digest, read another way: the name goes on up to a colon of the payload. */
function moveColon({ event, payload, version }: RuntimeEvent): RuntimeEvent {
  const text = fromUtf8(payload, "payload", "fault.internal");
  const at = text.indexOf(":");
  return { event: `${event}:${text.slice(0, at)}`, payload: utf8(text.slice(at + 1)), version };
}

describe("the colon of an event's name", () => {
  test("may stand in what the application measured", () => {
    for (const version of [1, 2] as const) {
      const boot = appraiseBoot(verify(stripEvidence(startedTd(version).evidence(zeros))), { vmConfig: "", mode: "runtime" });
      expect(boot.info.keyProviderInfo).toEqual(utf8('{"name":"local-sgx","id":"00"}'));
    }
  });

  test("cannot be moved to make the key provider vanish from a log that replays", () => {
    const evidence = startedTd().evidence(zeros);
    const runtimeEvents = evidence.stack.runtimeEvents.map((event) =>
      event.event === "key-provider" ? moveColon(event) : event,
    );
    expect(runtimeEvents.find(({ event }) => event === "key-provider")).toBeUndefined();
    expect(() => verify({ ...evidence, stack: { ...evidence.stack, runtimeEvents } })).toThrow(
      expect.objectContaining({ code: "unproven.event-log", message: expect.stringMatching(/^runtime event \d+: colon/) }),
    );
  });
});
