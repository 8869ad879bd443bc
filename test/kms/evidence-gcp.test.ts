/** The TDX half of a GCP guest: verified like any TDX guest, never enough for a key, and a BootInfo once PCRs are proven. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { bootInfoHex, gcpBootInfo } from "../../kms/attestation/boot-info.ts";
import { replayEvents } from "../../kms/attestation/events.ts";
import type { Evidence } from "../../kms/attestation/evidence.ts";
import type { ProvenPcrs } from "../../kms/attestation/proven-pcrs.ts";
import { bindEvidence } from "../../kms/attestation/report-data.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { createVerifier, verifyEvidenceWith, verifyTdxHalf } from "../../kms/attestation/verifier.ts";
import { concat, toHex, utf8 } from "../../kms/bytes.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { codeOf } from "./support/refusals.ts";

const now = new Date("2026-06-15T00:00:00Z");
const zeros = new Uint8Array(64);
const platform = simulatedPlatform();
const inputs = {
  collateral: parseCollateral(collateralJson(platform.collateral(now))),
  anchor: loadTrustAnchor(platform.rootDer),
  now,
};
const provider = '{"name":"tpm","id":""}';
const osImageHash = new Uint8Array(32).fill(5);
const tpmQuote = {
  message: new Uint8Array(),
  signature: new Uint8Array(),
  pcrValues: [],
  akCert: new Uint8Array(),
  platform: "gcp",
  eventLog: [],
} as const;

type GcpEvidence = Evidence & { readonly platform: { readonly kind: "gcp-tdx"; readonly quote: Uint8Array } };

function gcpEvidence(change: (evidence: GcpEvidence) => Evidence = (same) => same): Evidence {
  const evidence = simulatedTd({ platform, keyProvider: provider }).evidence(zeros);
  if (evidence.platform.kind !== "tdx") throw new Error("not a TDX guest");
  return change({ ...evidence, platform: { ...evidence.platform, kind: "gcp-tdx", tpmQuote } });
}

const half = (evidence = gcpEvidence()) => verifyTdxHalf(bindEvidence(evidence, evidence.stack.reportData), inputs);
const sha256 = (...parts: Uint8Array[]) =>
  new Uint8Array(
    createHash("sha256")
      .update(concat(...parts))
      .digest(),
  );

/** What a verifier of vTPM quotes would have made; here nobody verified anything. */
function pretended(of: ReturnType<typeof half>, change: Partial<ProvenPcrs> = {}): ProvenPcrs {
  const { stack, platform: own } = of.evidence;
  const pcrs = {
    qualifiedData: sha256(own.quote),
    pcr0: new Uint8Array(32).fill(1),
    pcr2: new Uint8Array(32).fill(2),
    pcr14: replayEvents(stack.runtimeEvents, "sha256"),
    ...change,
  };
  return pcrs as unknown as ProvenPcrs;
}

describe("a GCP guest's evidence", () => {
  test("passes in its TDX half", () => {
    expect(half().quote.status).toBe("UpToDate");
  });

  test("gets no key for it, and costs no collateral", async () => {
    const evidence = gcpEvidence();
    const bound = bindEvidence(evidence, zeros);
    expect(codeOf(() => verifyEvidenceWith(bound, inputs.collateral, inputs.anchor, now))).toBe("unproven.platform-unsupported");
    const collateral = { collateralFor: () => Promise.reject(new Error("not asked")) };
    const verifier = createVerifier({ tdxRoot: inputs.anchor, collateral, now: () => now });
    await expect(verifier.verify(bound)).rejects.toMatchObject({ code: "unproven.platform-unsupported" });
  });

  test.each<[string, (evidence: GcpEvidence) => Evidence, string]>([
    [
      "of another platform",
      (evidence) => ({ ...evidence, platform: { ...evidence.platform, kind: "nitro-enclave", nsmQuote: zeros } }),
      "unproven.platform-unsupported",
    ],
    [
      "with a changed quote",
      (evidence) => {
        const quote = evidence.platform.quote.slice();
        quote[600] = (quote[600] ?? 0) ^ 1;
        return { ...evidence, platform: { ...evidence.platform, quote } as GcpEvidence["platform"] };
      },
      "unproven.quote-signature",
    ],
    [
      "without its last event",
      (evidence) => ({
        ...evidence,
        stack: { ...evidence.stack, runtimeEvents: evidence.stack.runtimeEvents.slice(0, -1) },
      }),
      "unproven.event-log",
    ],
    [
      "bound to something else",
      (evidence) => ({ ...evidence, stack: { ...evidence.stack, reportData: new Uint8Array(64).fill(1) } }),
      "unproven.report-data",
    ],
  ])("is refused %s", (_name, change, code) => {
    expect(codeOf(() => half(gcpEvidence(change)))).toBe(code);
  });
});

describe("its BootInfo", () => {
  test.each(["runtime", "boottime"] as const)("at %s counts PCRs in place of registers", (mode) => {
    const verified = half();
    const info = gcpBootInfo(verified, pretended(verified), osImageHash, mode);
    const td = simulatedTd({ platform, keyProvider: provider });
    const events = td.runtimeEvents();
    const counted = mode === "runtime" ? events : events.slice(0, events.findIndex(({ event }) => event === "boot-mr-done") + 1);
    const keyProvider = mode === "runtime" ? sha256(utf8(provider)) : new Uint8Array(32);
    expect(bootInfoHex(info)).toEqual({
      teeVariant: "dstack-gcp-tdx",
      mrAggregated: toHex(sha256(new Uint8Array(32).fill(1), new Uint8Array(32).fill(2), replayEvents(counted, "sha256"))),
      osImageHash: toHex(osImageHash),
      mrSystem: toHex(sha256(osImageHash, keyProvider)),
      appId: toHex(td.appId),
      composeHash: toHex(td.composeHash),
      instanceId: "",
      deviceId: toHex(sha256(platform.ppid)),
      keyProviderInfo: mode === "runtime" ? toHex(utf8(provider)) : "",
      tcbStatus: "UpToDate",
      advisoryIds: [],
    });
  });

  test.each<[string, Partial<ProvenPcrs>, string]>([
    ["PCRs of another TDX quote", { qualifiedData: new Uint8Array(32) }, "unproven.report-data"],
    ["qualified data cut short", { qualifiedData: new Uint8Array(0) }, "unproven.report-data"],
    ["a short PCR0", { pcr0: new Uint8Array(31) }, "malformed.length"],
    ["a long PCR2", { pcr2: new Uint8Array(48) }, "malformed.length"],
    ["PCRs of other events", { pcr14: new Uint8Array(32) }, "unproven.event-log"],
  ])("is refused for %s", (_name, change, code) => {
    const verified = half();
    expect(codeOf(() => gcpBootInfo(verified, pretended(verified, change), osImageHash, "runtime"))).toBe(code);
  });
});
