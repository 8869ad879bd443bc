/** What the reduced form of evidence keeps: of each event what the verifier reads, and of firmware's events the digests of ACPI. */
import { describe, expect, test } from "vitest";
import { RUNTIME_EVENT_TYPE } from "../../kms/attestation/events.ts";
import { type Evidence, stripEvidence, type TdxEvent } from "../../kms/attestation/evidence.ts";
import { utf8 } from "../../kms/bytes.ts";

const none = new Uint8Array(0);
const digest = new Uint8Array(48).fill(5);
const firmware = 10;

function event(imr: number, eventType: number, payload: string): TdxEvent {
  return { imr, eventType, digest, event: "", eventPayload: utf8(payload), version: 1 };
}

function evidenceOf(kind: "tdx" | "gcp-tdx", eventLog: readonly TdxEvent[]): Evidence {
  const tpmQuote = { message: none, signature: none, pcrValues: [], akCert: none, platform: "gcp" as const, eventLog: [] };
  const platform = kind === "tdx" ? { kind, quote: none, eventLog } : { kind, quote: none, eventLog, tpmQuote };
  return { wire: "v1", platform, stack: { kind: "dstack", reportData: new Uint8Array(64), runtimeEvents: [], config: "" } };
}

function stripped(kind: "tdx" | "gcp-tdx", whole: TdxEvent): TdxEvent | undefined {
  const { platform } = stripEvidence(evidenceOf(kind, [whole]));
  return "eventLog" in platform ? platform.eventLog[0] : undefined;
}

const acpi = event(0, firmware, "ACPI DATA");
const runtime = event(3, RUNTIME_EVENT_TYPE, "payload");
const other = event(3, firmware, "payload");

describe.each(["tdx", "gcp-tdx"] as const)("evidence of %s", (kind) => {
  test.each<[string, TdxEvent, TdxEvent | undefined]>([
    ["keeps the payload of a runtime event", runtime, { ...runtime, digest: none }],
    ["keeps the digest of another event of RTMR3", other, { ...other, eventPayload: none }],
    ["drops a firmware event that says ACPI in another register", event(1, firmware, "ACPI DATA"), undefined],
    ["drops an event of another type that says ACPI", event(0, firmware + 1, "ACPI DATA"), undefined],
    ["drops a firmware event that says something else", event(0, firmware, "ACPI DATA "), undefined],
    ["keeps a firmware event with an ACPI digest whole, where it is read", acpi, kind === "tdx" ? acpi : undefined],
  ])("%s", (_what, whole, reduced) => {
    expect(stripped(kind, whole)).toEqual(reduced);
  });
});

test("evidence without an event log is left as it is", () => {
  const evidence: Evidence = { ...evidenceOf("tdx", []), platform: { kind: "nitro-enclave", nsmQuote: digest } };
  expect(stripEvidence(evidence)).toBe(evidence);
});
