/** Evidence about this KMS itself, made by the guest agent, and its way to an appraised boot: the same steps as for any caller. */
import { type AppraisedBoot, appraiseBoot } from "./attestation/appraise.ts";
import { decodeEvidence, encodeEvidence, stripEvidence } from "./attestation/evidence.ts";
import { REPORT_DATA_BYTES } from "./attestation/evidence-limits.ts";
import { type BoundEvidence, bindEvidence, reportData } from "./attestation/report-data.ts";
import type { Verifier } from "./attestation/verifier.ts";
import { inContext } from "./errors.ts";
import type { GuestAgent } from "./ra-tls/guest-agent.ts";

export interface OwnEvidence {
  /** The whole envelope over `reportData`, as the guest agent wrote it. */
  envelope(reportData: Uint8Array): Promise<Uint8Array>;
  /** The reduced envelope for a certificate over this key. */
  forCertificate(spki: Uint8Array): Promise<Uint8Array>;
  /** Who this KMS is, in the eyes of its own verifier. */
  appraise(vmConfig: string): Promise<AppraisedBoot>;
}

export function createOwnEvidence(agent: GuestAgent, verifier: Verifier): OwnEvidence {
  return {
    async envelope(expected) {
      return (await attest(agent, expected)).envelope;
    },
    async forCertificate(spki) {
      const { evidence } = await attest(agent, reportData("ratls-cert", spki));
      return encodeEvidence(stripEvidence(evidence));
    },
    async appraise(vmConfig) {
      const { evidence } = await attest(agent, new Uint8Array(REPORT_DATA_BYTES));
      return appraiseBoot(await verifier.verify(evidence), { vmConfig, mode: "runtime" });
    },
  };
}

/** What the agent answers is checked too: evidence over other data than asked for would be refused by every peer later. */
async function attest(agent: GuestAgent, expected: Uint8Array): Promise<{ envelope: Uint8Array; evidence: BoundEvidence }> {
  try {
    const envelope = await agent.attest(expected);
    return { envelope, evidence: bindEvidence(decodeEvidence(envelope), expected) };
  } catch (thrown) {
    throw inContext("Failed to get local KMS attestation", thrown);
  }
}
