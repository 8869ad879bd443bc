/** The attestation envelope: its model, its two wire forms told apart by the first byte, and the reduction for certificates. */
import { KmsError } from "../errors.ts";
import { parseEventLog, RUNTIME_EVENT_TYPE, runtimeEventsOf } from "./events.ts";
import { MAX_ENVELOPE_BYTES } from "./evidence-limits.ts";
import { decodeMsgpackEvidence } from "./evidence-msgpack.ts";
import { encodeMsgpackEvidence } from "./evidence-msgpack-encode.ts";
import { decodeScaleEvidence, encodeScaleEvidence } from "./evidence-scale.ts";
import { parseQuote } from "./tdx/quote.ts";

/** One entry of the platform's log: measured boot and runtime alike. */
export interface TdxEvent {
  readonly imr: number;
  readonly eventType: number;
  readonly digest: Uint8Array;
  readonly event: string;
  readonly eventPayload: Uint8Array;
  readonly version: 1 | 2;
  readonly preimage?: string;
}

/** One event of the guest, as replayed into RTMR3. */
export interface RuntimeEvent {
  readonly event: string;
  readonly payload: Uint8Array;
  readonly version: 1 | 2;
}

export type TpmPlatform = "dstack" | "gcp" | "nitroenclave" | "aws-ec2";

export interface TpmQuote {
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  readonly pcrValues: readonly { readonly index: number; readonly algorithm: string; readonly value: Uint8Array }[];
  readonly akCert: Uint8Array;
  readonly platform: TpmPlatform;
  readonly eventLog: readonly { readonly pcrIndex: number; readonly digest: Uint8Array }[];
}

export interface TdxEvidence {
  readonly kind: "tdx";
  readonly quote: Uint8Array;
  readonly eventLog: readonly TdxEvent[];
}

export interface GcpTdxEvidence {
  readonly kind: "gcp-tdx";
  readonly quote: Uint8Array;
  readonly eventLog: readonly TdxEvent[];
  readonly tpmQuote: TpmQuote;
}

export type PlatformEvidence =
  | TdxEvidence
  | GcpTdxEvidence
  | { readonly kind: "nitro-enclave"; readonly nsmQuote: Uint8Array }
  | {
      readonly kind: "sev-snp";
      readonly report: Uint8Array;
      readonly certChain: readonly Uint8Array[];
      readonly mrConfig: string;
    }
  | { readonly kind: "aws-nitro-tpm"; readonly attestationDoc: Uint8Array };

export interface Stack {
  readonly kind: "dstack" | "dstack-pod";
  readonly reportData: Uint8Array;
  readonly runtimeEvents: readonly RuntimeEvent[];
  readonly config: string;
  readonly reportDataPayload?: string;
}

export interface Evidence {
  readonly wire: "v0" | "v1";
  readonly platform: PlatformEvidence;
  readonly stack: Stack;
}

export function decodeEvidence(bytes: Uint8Array): Evidence {
  const first = bytes[0];
  if (first === undefined) throw new KmsError("malformed.envelope", "Empty attestation bytes");
  if (bytes.length > MAX_ENVELOPE_BYTES) {
    throw new KmsError("malformed.envelope", `envelope: need at most ${MAX_ENVELOPE_BYTES} bytes, have ${bytes.length}`);
  }
  if (first === 0x00) return decodeScaleEvidence(bytes);
  if ((first >= 0x80 && first <= 0x8f) || first === 0xde || first === 0xdf) return decodeMsgpackEvidence(bytes);
  throw new KmsError("malformed.envelope", "Unknown attestation wire format");
}

/** The envelope's bytes in the form that `evidence.wire` names. */
export function encodeEvidence(evidence: Evidence): Uint8Array {
  return evidence.wire === "v0" ? encodeScaleEvidence(evidence) : encodeMsgpackEvidence(evidence);
}

/** The form that writers choose: V0 unless it cannot express the stack. */
export function preferredWire(stack: Stack): "v0" | "v1" {
  return stack.kind === "dstack-pod" || stack.runtimeEvents.some((event) => event.version === 2) ? "v1" : "v0";
}

/** The reduced form for a certificate: what the verifier reads stays, the bulk goes. */
export function stripEvidence(evidence: Evidence): Evidence {
  const { platform } = evidence;
  if (platform.kind !== "tdx" && platform.kind !== "gcp-tdx") return evidence;
  const keepAcpi = platform.kind === "tdx";
  const eventLog = platform.eventLog
    .filter((event) => event.imr === 3 || (keepAcpi && isAcpiEvent(event)))
    .map((event) => (event.imr === 3 ? stripEvent(event) : event));
  return { ...evidence, platform: { ...platform, eventLog } };
}

/** The RTMR0 events that hold the digests of the ACPI blobs, which the lite image check needs. */
export function isAcpiEvent(event: TdxEvent): boolean {
  return event.imr === 0 && event.eventType === 10 && Buffer.from(event.eventPayload).toString("latin1") === "ACPI DATA";
}

function stripEvent(event: TdxEvent): TdxEvent {
  const nothing = new Uint8Array(0);
  return event.eventType === RUNTIME_EVENT_TYPE ? { ...event, digest: nothing } : { ...event, eventPayload: nothing };
}

/** The legacy form: a bare TDX quote with the log as JSON, no configuration, and the report data that the quote itself has. */
export function evidenceFromQuote(quote: Uint8Array, eventLogJson: string): Evidence {
  const { body } = parseQuote(quote);
  const eventLog = parseEventLog(eventLogJson);
  const stack: Stack = { kind: "dstack", reportData: body.reportData, runtimeEvents: runtimeEventsOf(eventLog), config: "" };
  return { wire: preferredWire(stack), platform: { kind: "tdx", quote, eventLog }, stack };
}
