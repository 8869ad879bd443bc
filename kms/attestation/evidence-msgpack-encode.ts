/** Writing envelope V1: keys in a fixed order; quotes and report data are arrays of integers, digests and payloads are bin. */
import type { Evidence, PlatformEvidence, RuntimeEvent, Stack, TdxEvent, TpmQuote } from "./evidence.ts";
import { packArray, packBin, packByteArray, packMap, packText, packUint } from "./msgpack.ts";

const ENVELOPE_V1 = 1;

export function encodeMsgpackEvidence({ platform, stack }: Evidence): Uint8Array {
  return packMap([
    ["version", packUint(ENVELOPE_V1)],
    ["platform", packKind(platform.kind, packPlatform(platform))],
    ["stack", packKind(stack.kind, packStack(stack))],
  ]);
}

function packKind(kind: string, data: Uint8Array): Uint8Array {
  return packMap([
    ["kind", packText(kind)],
    ["data", data],
  ]);
}

function packPlatform(platform: PlatformEvidence): Uint8Array {
  switch (platform.kind) {
    case "tdx":
    case "gcp-tdx":
      return packMap([
        ["quote", packByteArray(platform.quote)],
        ["event_log", packArray(platform.eventLog.map(packTdxEvent))],
        ["tpm_quote", platform.kind === "gcp-tdx" ? packTpmQuote(platform.tpmQuote) : undefined],
      ]);
    case "nitro-enclave":
      return packMap([["nsm_quote", packByteArray(platform.nsmQuote)]]);
    case "aws-nitro-tpm":
      return packMap([["attestation_doc", packByteArray(platform.attestationDoc)]]);
    case "sev-snp":
      return packMap([
        ["report", packByteArray(platform.report)],
        ["cert_chain", packArray(platform.certChain.map(packByteArray))],
        ["mr_config", packText(platform.mrConfig)],
      ]);
  }
}

function packStack(stack: Stack): Uint8Array {
  return packMap([
    ["report_data", packByteArray(stack.reportData)],
    ["runtime_events", packArray(stack.runtimeEvents.map(packRuntimeEvent))],
    ["config", packText(stack.config)],
    ["report_data_payload", stack.reportDataPayload === undefined ? undefined : packText(stack.reportDataPayload)],
  ]);
}

function packTdxEvent(event: TdxEvent): Uint8Array {
  return packMap([
    ["imr", packUint(event.imr)],
    ["event_type", packUint(event.eventType)],
    ["digest", packBin(event.digest)],
    ["event", packText(event.event)],
    ["event_payload", packBin(event.eventPayload)],
    ["version", packVersion(event.version)],
    ["preimage", event.preimage === undefined ? undefined : packText(event.preimage)],
  ]);
}

function packRuntimeEvent({ event, payload, version }: RuntimeEvent): Uint8Array {
  return packMap([
    ["event", packText(event)],
    ["payload", packBin(payload)],
    ["version", packVersion(version)],
  ]);
}

/** Version 1 is what readers assume, so writers leave it out. */
function packVersion(version: 1 | 2): Uint8Array | undefined {
  return version === 2 ? packUint(2) : undefined;
}

function packTpmQuote(quote: TpmQuote): Uint8Array {
  const pcrValues = quote.pcrValues.map(({ index, algorithm, value }) =>
    packMap([
      ["index", packUint(index)],
      ["algorithm", packText(algorithm)],
      ["value", packBin(value)],
    ]),
  );
  const eventLog = quote.eventLog.map(({ pcrIndex, digest }) =>
    packMap([
      ["pcr_index", packUint(pcrIndex)],
      ["digest", packBin(digest)],
    ]),
  );
  return packMap([
    ["message", packBin(quote.message)],
    ["signature", packBin(quote.signature)],
    ["pcr_values", packArray(pcrValues)],
    ["ak_cert", packBin(quote.akCert)],
    ["platform", packText(quote.platform)],
    ["event_log", packArray(eventLog)],
  ]);
}
