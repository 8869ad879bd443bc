/** The other side of onboarding: a KMS that proves what it is on one connection, and gives its keys on a second one to the same key. */
import { z } from "zod";
import { appraiseBoot } from "../attestation/appraise.ts";
import type { BootInfo } from "../attestation/boot-info.ts";
import { bindEvidence, reportData } from "../attestation/report-data.ts";
import type { VerifiedEvidence, Verifier } from "../attestation/verifier.ts";
import { inContext, KmsError } from "../errors.ts";
import type { OwnEvidence } from "../own-evidence.ts";
import {
  type ClientLimits,
  createRaTlsClient,
  fetchTempCa,
  needKmsUsage,
  needServerKey,
  needValidAt,
  type ServerCertificate,
} from "../ra-tls/client.ts";
import type { GuestAgent } from "../ra-tls/guest-agent.ts";
import { makeRaTlsIdentity, type TempCa } from "../ra-tls/identity.ts";

export interface SourceLimits {
  readonly tempCa: ClientLimits;
  readonly keys: ClientLimits;
}

/**
 * Both answers have a few kilobytes of PEM text. Before it gives its keys the source may have to download our OS image, for which
 * two minutes are usual; all together stays below the silence that the operator's own connection is allowed.
 */
export const sourceLimits: SourceLimits = {
  tempCa: { connectMs: 5_000, timeoutMs: 30_000, maxReplyBytes: 64 * 1024 },
  keys: { connectMs: 5_000, timeoutMs: 130_000, maxReplyBytes: 64 * 1024 },
};

export interface SourceSettings {
  readonly verifier: Verifier;
  readonly agent: GuestAgent;
  readonly ownEvidence: OwnEvidence;
  readonly now: () => Date;
  readonly limits?: SourceLimits | undefined;
}

/** A server whose evidence was verified and is bound to the TLS key with which it answered. */
export interface AttestedSource {
  readonly baseUrl: string;
  readonly spki: Uint8Array;
  /** Whether it may be a source at all is for the policy to say. */
  readonly info: BootInfo;
  readonly tempCa: TempCa;
}

/** Nothing of what these texts hold is checked yet. */
export interface KmsKeyAnswer {
  readonly tempCaKeyPem: string;
  readonly keys: readonly { readonly caKeyPem: string; readonly k256KeyHex: string }[];
}

/** The first connection. The certificate's chain is not looked at: it could only lead to a root that the same server names. */
export async function attestSource(settings: SourceSettings, baseUrl: string): Promise<AttestedSource> {
  const attested = Promise.withResolvers<{ readonly spki: Uint8Array; readonly evidence: VerifiedEvidence }>();
  const checkServer = async (server: ServerCertificate) => {
    needKmsUsage(server);
    needValidAt(server, settings.now());
    attested.resolve({ spki: server.spki, evidence: await verifyServer(settings.verifier, server) });
  };
  const tempCa = await fetchTempCa(baseUrl, { checkServer, limits: limitsOf(settings).tempCa });
  const { spki, evidence } = await attested.promise;
  return { baseUrl, spki, info: await appraiseSource(settings, evidence), tempCa };
}

/** The second connection. Without the pin whoever sits between could pass the first one on and answer here with keys of his own. */
export async function fetchKmsKey(settings: SourceSettings, source: AttestedSource): Promise<KmsKeyAnswer> {
  const { agent, now } = settings;
  const identity = await makeRaTlsIdentity(agent, source.tempCa, now());
  const { vmConfig } = await agent.info();
  const client = createRaTlsClient({
    baseUrl: source.baseUrl,
    rootCaPem: undefined,
    identity,
    checkServer: (server) => needServerKey(server, source.spki),
    limits: limitsOf(settings).keys,
  });
  const answer = kmsKeySchema.safeParse(await client.call("GetKmsKey", { vm_config: vmConfig }));
  // the problem names members only; the answer itself may hold keys and goes nowhere
  if (!answer.success) throw new KmsError("unavailable.kms", "GetKmsKey: the answer cannot be decoded");
  const { temp_ca_key: tempCaKeyPem, keys } = answer.data;
  return { tempCaKeyPem, keys: keys.map(({ ca_key, k256_key }) => ({ caKeyPem: ca_key, k256KeyHex: k256_key })) };
}

const kmsKeySchema = z.object({
  temp_ca_key: z.string(),
  keys: z.array(z.object({ ca_key: z.string(), k256_key: z.string() })),
});

function limitsOf({ limits = sourceLimits }: SourceSettings): SourceLimits {
  return limits;
}

async function verifyServer(verifier: Verifier, { evidence, spki }: ServerCertificate): Promise<VerifiedEvidence> {
  if (evidence === undefined) {
    throw new KmsError("unproven.server-identity", "Source KMS certificate does not contain attestation");
  }
  try {
    return await verifier.verify(bindEvidence(evidence, reportData("ratls-cert", spki)));
  } catch (thrown) {
    throw inContext("invalid quote", thrown);
  }
}

/** Certificates of old releases carry no VM configuration: then the source is asked about under the OS image of this KMS. */
async function appraiseSource({ ownEvidence }: SourceSettings, evidence: VerifiedEvidence): Promise<BootInfo> {
  const { info } = appraiseBoot(evidence, { vmConfig: "", mode: "runtime" });
  if (info.osImageHash.length > 0) return info;
  const own = await ownEvidence.appraise("");
  return { ...info, osImageHash: own.info.osImageHash };
}
