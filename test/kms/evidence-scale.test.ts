/** Envelope V0 of every platform, byte by byte, with the bounds of its lists and what it has no room for. */
import { describe, expect, test } from "vitest";
import type { Evidence, PlatformEvidence, Stack, TpmPlatform } from "../../kms/attestation/evidence.ts";
import { decodeEvidence, encodeEvidence } from "../../kms/attestation/evidence.ts";
import { MAX_EVENTS } from "../../kms/attestation/evidence-limits.ts";
import { decodeScaleEvidence, encodeScaleEvidence } from "../../kms/attestation/evidence-scale.ts";
import { concat, fromHex, toHex } from "../../kms/bytes.ts";

const bytes = (hex: string) => fromHex(hex, "bytes");
const malformed = (message: RegExp) =>
  expect.objectContaining({ code: "malformed.envelope", message: expect.stringMatching(message) });

const stack: Stack = { kind: "dstack", reportData: new Uint8Array(64).fill(9), runtimeEvents: [], config: "{}" };
const stackHex = `00${"09".repeat(64)}087b7d`;
const envelope = (platform: PlatformEvidence, more: Partial<Stack> = {}): Evidence => ({
  wire: "v0",
  platform,
  stack: { ...stack, ...more },
});

const event = { imr: 3, eventType: 0x8000001, digest: bytes("aabb"), event: "e", eventPayload: bytes("cc"), version: 1 } as const;
const eventHex = "0300000001000008" + "08aabb" + "0465" + "04cc";
const tpmOf = (platform: TpmPlatform) => ({
  message: bytes("01"),
  signature: bytes("0203"),
  pcrValues: [
    { index: 7, algorithm: "sha256", value: bytes("04") },
    { index: 0x01020304, algorithm: "", value: bytes("") },
  ],
  akCert: bytes("05"),
  platform,
  eventLog: [{ pcrIndex: 2, digest: bytes("06") }],
});
const tpmHex = (platform: string) => `040108020308070000001873686132353604040403020100000405${platform}04020000000406`;
const gcp = (platform: TpmPlatform): PlatformEvidence => ({
  ...{ kind: "gcp-tdx", quote: bytes("11"), eventLog: [event], tpmQuote: tpmOf(platform) },
});

describe("an envelope of", () => {
  test.each<[string, PlatformEvidence, string]>([
    ["TDX", { kind: "tdx", quote: bytes("1122"), eventLog: [event, event] }, `0008112208${eventHex}${eventHex}`],
    ["TDX on GCP, its TPM of dstack", gcp("dstack"), `01041104${eventHex}${tpmHex("00")}`],
    ["TDX on GCP", gcp("gcp"), `01041104${eventHex}${tpmHex("01")}`],
    ["TDX on GCP, its TPM of an enclave", gcp("nitroenclave"), `01041104${eventHex}${tpmHex("02")}`],
    ["TDX on GCP, its TPM of AWS", gcp("aws-ec2"), `01041104${eventHex}${tpmHex("03")}`],
    ["an enclave", { kind: "nitro-enclave", nsmQuote: bytes("33") }, "020433"],
    [
      "SEV-SNP",
      { kind: "sev-snp", report: bytes("44"), certChain: [bytes("55"), bytes("")], mrConfig: "m" },
      "03" + "0444" + "08045500" + "046d",
    ],
    ["a TPM of AWS", { kind: "aws-nitro-tpm", attestationDoc: bytes("66") }, "040466"],
  ])("%s is these bytes, both ways", (_name, platform, hex) => {
    const whole = `00${hex}${stackHex}`;
    expect(toHex(encodeEvidence(envelope(platform)))).toBe(whole);
    expect(decodeEvidence(bytes(whole))).toEqual(envelope(platform));
    expect(() => decodeEvidence(bytes(`${whole}00`))).toThrow(malformed(/envelope/));
    expect(() => decodeEvidence(bytes(whole.slice(0, -2)))).toThrow(malformed(/config/));
  });

  test("a guest with events of its own has them behind the platform", () => {
    const runtimeEvents = [{ event: "app-id", payload: bytes("77"), version: 1 as const }];
    const evidence = envelope({ kind: "nitro-enclave", nsmQuote: bytes("") }, { runtimeEvents });
    const hex = `00020004186170702d69640477${stackHex.slice(2)}`;
    expect([toHex(encodeEvidence(evidence)), decodeEvidence(bytes(hex))]).toEqual([hex, evidence]);
  });
});

describe("a reader refuses", () => {
  const prefix = "010411" + "00";
  const list = (count: number, item: string) =>
    `${(count * 4 + 1)
      .toString(16)
      .padStart(4, "0")
      .replace(/(..)(..)/, "$2$1")}${item.repeat(count)}`;
  test.each<[string, string, RegExp]>([
    ["a platform that is not listed", `0005${stackHex}`, /^platform: need 0 to 4, have 5$/],
    ["a TPM that is not listed", `00${prefix}${tpmHex("04")}${stackHex}`, /^tpm_quote.platform: no platform 4$/],
    ["17 certificates", `00030044${"00".repeat(17)}00${stackHex}`, /^cert_chain: need at most 16/],
    ["257 values of registers", `00${prefix}0000${list(257, "000000000000")}`, /^tpm_quote.pcr_values: need at most 256/],
    ["too many events of the platform", `000000${"0540"}`, /^event_log: need at most 4096 entries, have 4097/],
    [
      "too many events of the TPM",
      `00${prefix}0000000000${"0540"}`,
      /^tpm_quote.event_log: need at most 4096 entries, have 4097/,
    ],
    ["too many events of the guest", `000200${"0540"}`, /^runtime_events: need at most 4096 entries, have 4097/],
  ])("%s", (_name, hex, message) => {
    expect(() => decodeEvidence(bytes(hex))).toThrow(malformed(message));
  });

  test("another version", () => {
    expect(() => decodeScaleEvidence(bytes(`010200${stackHex}`))).toThrow(malformed(/^envelope: need version 0, have 1$/));
  });

  test("nothing at the limits", () => {
    expect(() => decodeEvidence(bytes(`00030040${"00".repeat(16)}00${stackHex}`))).not.toThrow();
    expect(() =>
      decodeEvidence(concat(bytes("0002000140"), new Uint8Array(2 * MAX_EVENTS), bytes(stackHex.slice(2)))),
    ).not.toThrow();
  });
});

describe("a writer refuses", () => {
  const enclave: PlatformEvidence = { kind: "nitro-enclave", nsmQuote: bytes("") };
  const tdx = (more: object): PlatformEvidence => ({ kind: "tdx", quote: bytes(""), eventLog: [event, { ...event, ...more }] });
  const noRoom = /^envelope v0 has no room/;
  test.each<[string, Evidence, RegExp]>([
    ["63 bytes of report data", envelope(enclave, { reportData: new Uint8Array(63) }), /^report_data: need 64 bytes, have 63$/],
    ["65 bytes of report data", envelope(enclave, { reportData: new Uint8Array(65) }), /^report_data: need 64/],
    ["a pod", envelope(enclave, { kind: "dstack-pod" }), noRoom],
    [
      "an event of the guest of version 2",
      envelope(enclave, { runtimeEvents: [{ event: "", payload: bytes(""), version: 2 }] }),
      noRoom,
    ],
    ["an event of the platform of version 2", envelope(tdx({ version: 2 })), noRoom],
    ["an event with its preimage", envelope(tdx({ preimage: "x" })), noRoom],
  ])("%s", (_name, evidence, message) => {
    expect(() => encodeScaleEvidence(evidence)).toThrow(malformed(message));
  });
});
