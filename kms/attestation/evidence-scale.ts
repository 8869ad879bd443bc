/** Envelope V0: SCALE. It has no room for version-2 events or for the pod stack. */
import { concat } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import type { Evidence, PlatformEvidence, RuntimeEvent, TdxEvent, TpmPlatform, TpmQuote } from "./evidence.ts";
import { MAX_CHAIN_ENTRIES, MAX_EVENTS, MAX_PCR_VALUES, REPORT_DATA_BYTES } from "./evidence-limits.ts";
import { ScaleReader, scaleBytes, scaleText, scaleU8, scaleU32, scaleVec } from "./scale.ts";

const ENVELOPE_V0 = 0;
/** The index in each list is the byte on the wire. */
const platformKinds = ["tdx", "gcp-tdx", "nitro-enclave", "sev-snp", "aws-nitro-tpm"] as const;
const tpmPlatforms: readonly TpmPlatform[] = ["dstack", "gcp", "nitroenclave", "aws-ec2"];

export function decodeScaleEvidence(bytes: Uint8Array): Evidence {
  const reader = new ScaleReader(bytes, "malformed.envelope");
  const version = reader.u8("envelope");
  if (version !== ENVELOPE_V0) throw new KmsError("malformed.envelope", `envelope: need version ${ENVELOPE_V0}, have ${version}`);
  const platform = readPlatform(reader);
  const runtimeEvents = reader.vec("runtime_events", MAX_EVENTS, (field) => readRuntimeEvent(reader, field));
  const reportData = reader.fixed(REPORT_DATA_BYTES, "report_data");
  const config = reader.text("config");
  reader.end("envelope");
  return { wire: "v0", platform, stack: { kind: "dstack", reportData, runtimeEvents, config } };
}

function readPlatform(reader: ScaleReader): PlatformEvidence {
  const index = reader.u8("platform");
  const kind = platformKinds[index];
  if (kind === undefined) {
    throw new KmsError("malformed.envelope", `platform: need 0 to ${platformKinds.length - 1}, have ${index}`);
  }
  switch (kind) {
    case "tdx":
      return { kind, quote: reader.bytes("quote"), eventLog: readEventLog(reader) };
    case "gcp-tdx":
      return { kind, quote: reader.bytes("quote"), eventLog: readEventLog(reader), tpmQuote: readTpmQuote(reader) };
    case "nitro-enclave":
      return { kind, nsmQuote: reader.bytes("nsm_quote") };
    case "sev-snp":
      return {
        kind,
        report: reader.bytes("report"),
        certChain: reader.vec("cert_chain", MAX_CHAIN_ENTRIES, (field) => reader.bytes(field)),
        mrConfig: reader.text("mr_config"),
      };
    case "aws-nitro-tpm":
      return { kind, attestationDoc: reader.bytes("attestation_doc") };
  }
}

function readEventLog(reader: ScaleReader): TdxEvent[] {
  return reader.vec("event_log", MAX_EVENTS, (field) => ({
    imr: reader.u32(`${field}.imr`),
    eventType: reader.u32(`${field}.event_type`),
    digest: reader.bytes(`${field}.digest`),
    event: reader.text(`${field}.event`),
    eventPayload: reader.bytes(`${field}.event_payload`),
    version: 1,
  }));
}

function readRuntimeEvent(reader: ScaleReader, field: string): RuntimeEvent {
  return { event: reader.text(`${field}.event`), payload: reader.bytes(`${field}.payload`), version: 1 };
}

function readTpmQuote(reader: ScaleReader): TpmQuote {
  return {
    message: reader.bytes("tpm_quote.message"),
    signature: reader.bytes("tpm_quote.signature"),
    pcrValues: reader.vec("tpm_quote.pcr_values", MAX_PCR_VALUES, (field) => ({
      index: reader.u32(`${field}.index`),
      algorithm: reader.text(`${field}.algorithm`),
      value: reader.bytes(`${field}.value`),
    })),
    akCert: reader.bytes("tpm_quote.ak_cert"),
    platform: readTpmPlatform(reader),
    eventLog: reader.vec("tpm_quote.event_log", MAX_EVENTS, (field) => ({
      pcrIndex: reader.u32(`${field}.pcr_index`),
      digest: reader.bytes(`${field}.digest`),
    })),
  };
}

function readTpmPlatform(reader: ScaleReader): TpmPlatform {
  const index = reader.u8("tpm_quote.platform");
  const platform = tpmPlatforms[index];
  if (platform === undefined) throw new KmsError("malformed.envelope", `tpm_quote.platform: no platform ${index}`);
  return platform;
}

export function encodeScaleEvidence(evidence: Evidence): Uint8Array {
  refuseInexpressible(evidence);
  const { platform, stack } = evidence;
  return concat(
    scaleU8(ENVELOPE_V0),
    scaleU8(platformKinds.indexOf(platform.kind)),
    writePlatform(platform),
    scaleVec(stack.runtimeEvents, ({ event, payload }) => concat(scaleText(event), scaleBytes(payload))),
    stack.reportData,
    scaleText(stack.config),
  );
}

/** Dropping a version would change what the event hashes to, so the writer refuses instead. */
function refuseInexpressible({ platform, stack }: Evidence): void {
  if (stack.reportData.length !== REPORT_DATA_BYTES) {
    throw new KmsError("malformed.envelope", `report_data: need ${REPORT_DATA_BYTES} bytes, have ${stack.reportData.length}`);
  }
  const log = "eventLog" in platform ? platform.eventLog : [];
  const versioned = stack.runtimeEvents.some(({ version }) => version === 2) || log.some((event) => event.version === 2);
  if (stack.kind !== "dstack" || versioned || log.some((event) => event.preimage !== undefined)) {
    throw new KmsError("malformed.envelope", "envelope v0 has no room for the pod stack or for version-2 events");
  }
}

function writePlatform(platform: PlatformEvidence): Uint8Array {
  switch (platform.kind) {
    case "tdx":
      return concat(scaleBytes(platform.quote), writeEventLog(platform.eventLog));
    case "gcp-tdx":
      return concat(scaleBytes(platform.quote), writeEventLog(platform.eventLog), writeTpmQuote(platform.tpmQuote));
    case "nitro-enclave":
      return scaleBytes(platform.nsmQuote);
    case "sev-snp":
      return concat(scaleBytes(platform.report), scaleVec(platform.certChain, scaleBytes), scaleText(platform.mrConfig));
    case "aws-nitro-tpm":
      return scaleBytes(platform.attestationDoc);
  }
}

function writeEventLog(events: readonly TdxEvent[]): Uint8Array {
  return scaleVec(events, (event) =>
    concat(
      scaleU32(event.imr),
      scaleU32(event.eventType),
      scaleBytes(event.digest),
      scaleText(event.event),
      scaleBytes(event.eventPayload),
    ),
  );
}

function writeTpmQuote(quote: TpmQuote): Uint8Array {
  return concat(
    scaleBytes(quote.message),
    scaleBytes(quote.signature),
    scaleVec(quote.pcrValues, ({ index, algorithm, value }) => concat(scaleU32(index), scaleText(algorithm), scaleBytes(value))),
    scaleBytes(quote.akCert),
    scaleU8(tpmPlatforms.indexOf(quote.platform)),
    scaleVec(quote.eventLog, ({ pcrIndex, digest }) => concat(scaleU32(pcrIndex), scaleBytes(digest))),
  );
}
