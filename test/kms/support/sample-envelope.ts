/** The real V0 sample, and where each of its parts must stand when its decoded values are written one by one. */
import { decodeEvidence, type RuntimeEvent, type TdxEvent } from "../../../kms/attestation/evidence.ts";
import { scaleBytes, scaleCompact, scaleText, scaleU8, scaleU32 } from "../../../kms/attestation/scale.ts";
import { concat } from "../../../kms/bytes.ts";
import { realBytes } from "../../support/real-evidence.ts";

export interface Part {
  readonly name: string;
  readonly offset: number;
  readonly encoded: Uint8Array;
  /** How many bytes, characters or events it holds; of a discriminant its value. */
  readonly count: number;
}

export interface EventAt<E> {
  readonly offset: number;
  readonly event: E;
}

export const sampleBytes = realBytes("dstack-sim-attestation.bin");
export const sample = decodeEvidence(sampleBytes);
if (sample.platform.kind !== "tdx") throw new Error("the sample is not of TDX");
const { quote, eventLog } = sample.platform;
const { runtimeEvents, reportData, config } = sample.stack;

const encodeTdxEvent = ({ imr, eventType, digest, event, eventPayload }: TdxEvent) =>
  concat(scaleU32(imr), scaleU32(eventType), scaleBytes(digest), scaleText(event), scaleBytes(eventPayload));
const encodeRuntimeEvent = ({ event, payload }: RuntimeEvent) => concat(scaleText(event), scaleBytes(payload));

/** In the order of the wire, without a gap. */
export const sampleParts: readonly Part[] = at(
  { name: "VersionedAttestation discriminant", encoded: scaleU8(0), count: 0 },
  { name: "AttestationQuote discriminant", encoded: scaleU8(0), count: 0 },
  { name: "TdxQuote.quote", encoded: scaleBytes(quote), count: quote.length },
  { name: "TdxQuote.event_log", encoded: vector(eventLog.map(encodeTdxEvent)), count: eventLog.length },
  { name: "runtime_events", encoded: vector(runtimeEvents.map(encodeRuntimeEvent)), count: runtimeEvents.length },
  { name: "report_data", encoded: reportData, count: reportData.length },
  { name: "config", encoded: scaleText(config), count: config.length },
);

export const sampleTdxEvents = eventsAt("TdxQuote.event_log", eventLog, encodeTdxEvent);
export const sampleRuntimeEvents = eventsAt("runtime_events", runtimeEvents, encodeRuntimeEvent);

function at(...parts: readonly Omit<Part, "offset">[]): Part[] {
  let offset = 0;
  return parts.map((part) => {
    const placed = { ...part, offset };
    offset += part.encoded.length;
    return placed;
  });
}

function vector(items: readonly Uint8Array[]): Uint8Array {
  return concat(scaleCompact(items.length), ...items);
}

function eventsAt<E>(part: string, events: readonly E[], encode: (event: E) => Uint8Array): EventAt<E>[] {
  let offset = (sampleParts.find(({ name }) => name === part)?.offset ?? 0) + 1; // the count is one byte
  return events.map((event) => {
    const placed = { offset, event };
    offset += encode(event).length;
    return placed;
  });
}
