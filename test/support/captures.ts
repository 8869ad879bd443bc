/** The five real guests of the fixtures with everything that was published about them. */
import { decodeEvidence, type Evidence, evidenceFromQuote } from "../../kms/attestation/evidence.ts";
import { fromHex } from "../../kms/bytes.ts";
import { realBytes, realJson } from "./real-evidence.ts";
import { expected, readQuote, type SampleRun } from "./tdx-samples.ts";

interface Numbers {
  readonly mr_system: string;
  readonly mr_aggregated: string;
  readonly key_provider_info_hex?: string;
}

/** What expected.json says of a guest. */
export interface CaptureFacts {
  readonly rtmr3_at_boot_mr_done: string;
  readonly events: readonly string[];
  readonly os_image_hash: string;
  readonly app_id: string;
  readonly compose_hash: string;
  readonly instance_id: string;
  readonly key_provider_info_hex: string;
  readonly device_id_if_verified: string;
  readonly tee_variant: string;
  readonly runtime: Numbers;
  readonly boottime: Numbers;
}

export interface Capture {
  readonly file: string;
  readonly evidence: Evidence;
  /** The VM configuration that came beside the evidence. */
  readonly vmConfig: string;
  readonly facts: CaptureFacts;
  readonly accepted: SampleRun;
}

export const captures: readonly Capture[] = expected.samples.flatMap((sample) => {
  const { dstack: facts } = sample as { readonly dstack?: CaptureFacts };
  const accepted = sample.runs?.find(({ result }) => result === "accepted");
  if (facts === undefined || accepted === undefined) return [];
  const { file } = sample;
  return [{ file, evidence: evidenceOf(file), vmConfig: vmConfigOf(file), facts, accepted }];
});

function evidenceOf(file: string): Evidence {
  if (file.endsWith(".bin")) return decodeEvidence(realBytes(file));
  if (file.startsWith("mpc")) {
    const info: Record<string, unknown> = realJson("mpc-2026-08-tcb_info.json");
    return evidenceFromQuote(readQuote(file), JSON.stringify(info["event_log"]));
  }
  const { attestation, quote = "", event_log = "" } = realJson(file);
  if (attestation !== undefined) return decodeEvidence(fromHex(attestation, "attestation"));
  return evidenceFromQuote(fromHex(quote, "quote"), event_log);
}

function vmConfigOf(file: string): string {
  return file.startsWith("mpc") || file.endsWith(".bin") ? "" : (realJson(file)["vm_config"] ?? "");
}
