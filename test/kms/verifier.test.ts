/** The verifier on real evidence: what passes, and the one refusal that each change leads to. */
import { describe, expect, test } from "vitest";
import { RUNTIME_EVENT_TYPE } from "../../kms/attestation/events.ts";
import type { Evidence, Stack } from "../../kms/attestation/evidence.ts";
import { bindEvidence, reportData } from "../../kms/attestation/report-data.ts";
import { parseQuote, type Quote } from "../../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa } from "../../kms/attestation/tdx/trust-anchor.ts";
import { createVerifier, requireTd, type TdReport, verifyTdQuote } from "../../kms/attestation/verifier.ts";
import { toHex, utf8 } from "../../kms/bytes.ts";
import { liteAttestation, quoteReport, realBytes, realCollateral, verifyReal } from "../support/real-evidence.ts";

const real = liteAttestation();
const platform = real.evidence.platform;
if (platform.kind !== "tdx") throw new Error("the fixture is a TDX envelope");

function withStack(change: Partial<Stack>): Evidence {
  return { ...real.evidence, stack: { ...real.evidence.stack, ...change } };
}

function withQuote(quote: Uint8Array): Evidence {
  return { ...real.evidence, platform: { ...platform, kind: "tdx", eventLog: [], quote } };
}

/** The quote with one byte of its signed body changed. */
function forgedQuote(): Uint8Array {
  const quote = platform.kind === "tdx" ? platform.quote.slice() : new Uint8Array(0);
  quote[600] = (quote[600] ?? 0) ^ 1;
  return quote;
}

test("real evidence is verified, whichever form it came in", () => {
  for (const evidence of [real.evidence, { ...real.evidence, wire: "v1" as const }]) {
    expect(verifyReal({ ...real, evidence }).quote.status).toBe("UpToDate");
  }
  expect(verifyReal(quoteReport()).quote.status).toBe("UpToDate");
});

describe("is refused:", () => {
  const payload = "payload";
  const podData = reportData("app-data", utf8(payload));
  const events = real.evidence.stack.runtimeEvents;
  const v2Event = {
    imr: 3,
    eventType: RUNTIME_EVENT_TYPE,
    digest: new Uint8Array(48),
    event: "a",
    eventPayload: new Uint8Array(0),
  };

  test.each<[string, Evidence, string, string | RegExp]>([
    [
      "an event left out",
      withStack({ runtimeEvents: events.slice(1) }),
      "unproven.event-log",
      /^RTMR3 mismatch, quoted: [0-9a-f]{96}, replayed: [0-9a-f]{96}$/,
    ],
    ["an event twice", withStack({ runtimeEvents: [...events, ...events.slice(0, 1)] }), "unproven.event-log", /^RTMR3 mismatch/],
    ["two events in another order", withStack({ runtimeEvents: events.toReversed() }), "unproven.event-log", /^RTMR3 mismatch/],
    [
      "report data that the quote does not have",
      withStack({ reportData: new Uint8Array(64) }),
      "unproven.report-data",
      "tdx report_data mismatch",
    ],
    [
      "a pod with another payload",
      withStack({ kind: "dstack-pod", reportDataPayload: payload }),
      "unproven.report-data",
      "report_data does not match report_data_payload",
    ],
    [
      "a pod whose payload fits but not the quote",
      withStack({ kind: "dstack-pod", reportDataPayload: payload, reportData: podData }),
      "unproven.report-data",
      "tdx report_data mismatch",
    ],
    [
      "a version-2 event with a digest that nothing explains",
      { ...real.evidence, platform: { ...platform, eventLog: [{ ...v2Event, version: 2 }] } },
      "unproven.event-log",
      /^event log\[0\]\.preimage: missing$/,
    ],
    [
      "a forged quote, before its log is looked at",
      { ...withQuote(forgedQuote()), stack: withStack({ runtimeEvents: [] }).stack },
      "unproven.quote-signature",
      /./,
    ],
    ["half a quote", withQuote(platform.quote.subarray(0, 900)), "malformed.quote", /./],
  ])("%s", (_name, evidence, code, message) => {
    expect(() => verifyReal({ ...real, evidence })).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test.each<Evidence["platform"]>([
    {
      kind: "gcp-tdx",
      quote: platform.quote,
      eventLog: [],
      tpmQuote: { message: utf8(""), signature: utf8(""), pcrValues: [], akCert: utf8(""), platform: "gcp", eventLog: [] },
    },
    { kind: "nitro-enclave", nsmQuote: new Uint8Array(0) },
    { kind: "sev-snp", report: new Uint8Array(1184), certChain: [], mrConfig: "{}" },
    { kind: "aws-nitro-tpm", attestationDoc: new Uint8Array(0) },
  ])("evidence of platform $kind, which no code here verifies yet", (other) => {
    const evidence: Evidence = { ...real.evidence, platform: other };
    expect(() => verifyReal({ ...real, evidence })).toThrow(expect.objectContaining({ code: "unproven.platform-unsupported" }));
  });

  test("an enclave's quote where a TD's should be", () => {
    const inputs = {
      collateral: realCollateral("collateral-sgx-00a067110000-2025-06.json"),
      anchor: intelSgxRootCa,
      now: new Date("2025-07-01T00:00:00Z"),
    };
    expect(() => verifyTdQuote(parseQuote(realBytes("sgx-v3-00a067110000.bin")), inputs)).toThrow(
      expect.objectContaining({ code: "unproven.tee-type", message: "no td report" }),
    );
  });
});

describe("a TD that DCAP let through is refused", () => {
  const td = verifyReal(real).quote;

  test.each<[string, Partial<TdReport>, string, string]>([
    ["in debug mode", { tdAttributes: Uint8Array.of(1, 0, 0, 0x10, 0, 0, 0, 0) }, "unproven.debug", "Debug mode is not allowed"],
    [
      "under a module of another signer",
      { mrSignerSeam: new Uint8Array(48).fill(1) },
      "unproven.tdx-module",
      "Invalid mr signer seam",
    ],
    [
      "with a service TD",
      { kind: "td15", mrServiceTd: new Uint8Array(48).fill(1) },
      "unproven.service-td",
      "Invalid mr service td",
    ],
  ])("%s", (_name, change, code, message) => {
    const body = { ...td.quote.body, ...change } as TdReport;
    expect(() => requireTd({ ...td, quote: { ...td.quote, body } })).toThrow(expect.objectContaining({ code, message }));
  });
});

describe("the assembled verifier", () => {
  const bound = bindEvidence(real.evidence, real.evidence.stack.reportData);
  const settings = { tdxRoot: intelSgxRootCa, now: () => real.now };

  test("fetches collateral for the quote at hand", async () => {
    const asked: string[] = [];
    const collateral = {
      collateralFor: async (quote: Quote) => {
        asked.push(toHex(quote.body.reportData));
        return real.collateral;
      },
    };
    const result = await createVerifier({ ...settings, collateral }).verify(bound);
    expect(asked).toEqual([toHex(real.evidence.stack.reportData)]);
    expect(result.quote.quote.body.kind).toBe("td10");
  });

  test("fetches nothing for evidence that it cannot verify", async () => {
    const collateral = { collateralFor: () => Promise.reject(new Error("asked")) };
    const verifier = createVerifier({ ...settings, collateral });
    const nitro: Evidence = { ...real.evidence, platform: { kind: "nitro-enclave", nsmQuote: new Uint8Array(0) } };
    await expect(verifier.verify(bindEvidence(nitro, nitro.stack.reportData))).rejects.toMatchObject({
      code: "unproven.platform-unsupported",
    });
    const broken = withQuote(new Uint8Array(10));
    await expect(verifier.verify(bindEvidence(broken, broken.stack.reportData))).rejects.toMatchObject({
      code: "malformed.quote",
    });
    const pod = withStack({ kind: "dstack-pod", reportDataPayload: "another" });
    await expect(verifier.verify(bindEvidence(pod, pod.stack.reportData))).rejects.toMatchObject({
      code: "unproven.report-data",
    });
  });
});
