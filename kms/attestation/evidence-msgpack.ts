/** Reading envelope V1: MessagePack maps. Any byte field may be bin or an array of integers, and unknown keys are passed over. */
import { KmsError } from "../errors.ts";
import type { Evidence, PlatformEvidence, RuntimeEvent, Stack, TdxEvent, TpmPlatform, TpmQuote } from "./evidence.ts";
import { MAX_CHAIN_ENTRIES, MAX_EVENTS, MAX_PCR_VALUES, REPORT_DATA_BYTES } from "./evidence-limits.ts";
import { MsgpackReader } from "./msgpack.ts";

const ENVELOPE_V1 = 1;
const tpmPlatforms: readonly TpmPlatform[] = ["dstack", "gcp", "nitroenclave", "aws-ec2"];

/** The members of one map: how each is read, and what came of it. */
type Readers<T> = { readonly [K in keyof T]: () => T[K] };

export function decodeMsgpackEvidence(bytes: Uint8Array): Evidence {
  const reader = new MsgpackReader(bytes, "malformed.envelope");
  const top = readMembers(reader, "envelope", {
    version: () => reader.uint("version"),
    platform: () => readKind(reader, "platform"),
    stack: () => readKind(reader, "stack"),
  });
  reader.end("envelope");
  if (top.version !== ENVELOPE_V1) throw refuse(`version: need ${ENVELOPE_V1}, have ${top.version ?? "none"}`);
  const platform = required(top.platform, "platform");
  const stack = required(top.stack, "stack");
  return { wire: "v1", platform: readPlatform(platform.kind, platform.data), stack: readStack(stack.kind, stack.data) };
}

function readMembers<T extends object>(reader: MsgpackReader, field: string, readers: Readers<T>): Partial<T> {
  const found: Partial<T> = {};
  const names = new Set<PropertyKey>(Object.keys(readers));
  reader.map(field, (key) => {
    if (!names.has(key)) return false;
    const name = key as keyof T; // just found among the keys of `readers`
    found[name] = readers[name]();
    return true;
  });
  return found;
}

function required<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw refuse(`${field}: missing`);
  return value;
}

function refuse(message: string): KmsError {
  return new KmsError("malformed.envelope", message);
}

function readKind(reader: MsgpackReader, field: string): { kind: string; data: MsgpackReader } {
  const members = readMembers(reader, field, {
    kind: () => reader.text(`${field}.kind`),
    data: () => reader.slice(`${field}.data`),
  });
  return { kind: required(members.kind, `${field}.kind`), data: required(members.data, `${field}.data`) };
}

function readPlatform(kind: string, reader: MsgpackReader): PlatformEvidence {
  switch (kind) {
    case "tdx":
      return { kind, ...readTdx(reader, false) };
    case "gcp-tdx": {
      const { tpmQuote, ...tdx } = readTdx(reader, true);
      return { kind, ...tdx, tpmQuote: required(tpmQuote, "tpm_quote") };
    }
    case "nitro-enclave": {
      const found = readMembers(reader, "platform", { nsm_quote: () => reader.bytes("nsm_quote") });
      return { kind, nsmQuote: required(found.nsm_quote, "nsm_quote") };
    }
    case "aws-nitro-tpm": {
      const found = readMembers(reader, "platform", { attestation_doc: () => reader.bytes("attestation_doc") });
      return { kind, attestationDoc: required(found.attestation_doc, "attestation_doc") };
    }
    case "sev-snp":
      return { kind, ...readSnp(reader) };
    default:
      throw refuse("platform.kind: no such platform");
  }
}

function readTdx(reader: MsgpackReader, withTpm: boolean): { quote: Uint8Array; eventLog: TdxEvent[]; tpmQuote?: TpmQuote } {
  const found = readMembers(reader, "platform", {
    quote: () => reader.bytes("quote"),
    event_log: () => reader.array("event_log", MAX_EVENTS, (field) => readTdxEvent(reader, field)),
    ...(withTpm ? { tpm_quote: () => readTpmQuote(reader) } : {}),
  });
  return {
    quote: required(found.quote, "quote"),
    eventLog: required(found.event_log, "event_log"),
    ...(found.tpm_quote === undefined ? {} : { tpmQuote: found.tpm_quote }),
  };
}

function readSnp(reader: MsgpackReader): { report: Uint8Array; certChain: Uint8Array[]; mrConfig: string } {
  const found = readMembers(reader, "platform", {
    report: () => reader.bytes("report"),
    cert_chain: () => reader.array("cert_chain", MAX_CHAIN_ENTRIES, (field) => reader.bytes(field)),
    mr_config: () => reader.text("mr_config"),
  });
  return {
    report: required(found.report, "report"),
    certChain: required(found.cert_chain, "cert_chain"),
    mrConfig: required(found.mr_config, "mr_config"),
  };
}

function readStack(kind: string, reader: MsgpackReader): Stack {
  if (kind !== "dstack" && kind !== "dstack-pod") throw refuse("stack.kind: no such stack");
  const isPod = kind === "dstack-pod";
  const found = readMembers(reader, "stack", {
    report_data: () => reader.bytes("report_data"),
    runtime_events: () => reader.array("runtime_events", MAX_EVENTS, (field) => readRuntimeEvent(reader, field)),
    config: () => reader.text("config"),
    ...(isPod ? { report_data_payload: () => reader.text("report_data_payload") } : {}),
  });
  const reportData = required(found.report_data, "report_data");
  if (reportData.length !== REPORT_DATA_BYTES) {
    throw refuse(`report_data: need ${REPORT_DATA_BYTES} bytes, have ${reportData.length}`);
  }
  return {
    kind,
    reportData,
    runtimeEvents: required(found.runtime_events, "runtime_events"),
    config: required(found.config, "config"),
    ...(found.report_data_payload === undefined ? {} : { reportDataPayload: found.report_data_payload }),
  };
}

function readTdxEvent(reader: MsgpackReader, field: string): TdxEvent {
  const found = readMembers(reader, field, {
    imr: () => reader.uint(`${field}.imr`),
    event_type: () => reader.uint(`${field}.event_type`),
    digest: () => reader.bytes(`${field}.digest`),
    event: () => reader.text(`${field}.event`),
    event_payload: () => reader.bytes(`${field}.event_payload`),
    version: () => readVersion(reader, field),
    preimage: () => reader.text(`${field}.preimage`),
  });
  return {
    imr: required(found.imr, `${field}.imr`),
    eventType: required(found.event_type, `${field}.event_type`),
    digest: found.digest ?? new Uint8Array(0),
    event: required(found.event, `${field}.event`),
    eventPayload: required(found.event_payload, `${field}.event_payload`),
    version: found.version ?? 1,
    ...(found.preimage === undefined ? {} : { preimage: found.preimage }),
  };
}

function readRuntimeEvent(reader: MsgpackReader, field: string): RuntimeEvent {
  const found = readMembers(reader, field, {
    event: () => reader.text(`${field}.event`),
    payload: () => reader.bytes(`${field}.payload`),
    version: () => readVersion(reader, field),
  });
  return {
    event: required(found.event, `${field}.event`),
    payload: required(found.payload, `${field}.payload`),
    version: found.version ?? 1,
  };
}

function readVersion(reader: MsgpackReader, field: string): 1 | 2 {
  const version = reader.uint(`${field}.version`);
  if (version !== 1 && version !== 2) throw refuse(`${field}.version: need 1 or 2, have ${version}`);
  return version;
}

function readTpmQuote(reader: MsgpackReader): TpmQuote {
  const found = readMembers(reader, "tpm_quote", {
    message: () => reader.bytes("tpm_quote.message"),
    signature: () => reader.bytes("tpm_quote.signature"),
    pcr_values: () => reader.array("tpm_quote.pcr_values", MAX_PCR_VALUES, (field) => readPcrValue(reader, field)),
    ak_cert: () => reader.bytes("tpm_quote.ak_cert"),
    platform: () => reader.text("tpm_quote.platform"),
    event_log: () => reader.array("tpm_quote.event_log", MAX_EVENTS, (field) => readTpmEvent(reader, field)),
  });
  return {
    message: required(found.message, "tpm_quote.message"),
    signature: required(found.signature, "tpm_quote.signature"),
    pcrValues: required(found.pcr_values, "tpm_quote.pcr_values"),
    akCert: required(found.ak_cert, "tpm_quote.ak_cert"),
    platform: required(
      tpmPlatforms.find((known) => known === found.platform),
      "tpm_quote.platform",
    ),
    eventLog: required(found.event_log, "tpm_quote.event_log"),
  };
}

function readPcrValue(reader: MsgpackReader, field: string): TpmQuote["pcrValues"][number] {
  const found = readMembers(reader, field, {
    index: () => reader.uint(`${field}.index`),
    algorithm: () => reader.text(`${field}.algorithm`),
    value: () => reader.bytes(`${field}.value`),
  });
  return {
    index: required(found.index, `${field}.index`),
    algorithm: required(found.algorithm, `${field}.algorithm`),
    value: required(found.value, `${field}.value`),
  };
}

function readTpmEvent(reader: MsgpackReader, field: string): TpmQuote["eventLog"][number] {
  const found = readMembers(reader, field, {
    pcr_index: () => reader.uint(`${field}.pcr_index`),
    digest: () => reader.bytes(`${field}.digest`),
  });
  return { pcrIndex: required(found.pcr_index, `${field}.pcr_index`), digest: required(found.digest, `${field}.digest`) };
}
