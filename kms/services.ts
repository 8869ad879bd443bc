/** Builds the collaborators of a KMS from its settings: guest agent, verifier, policy, authority. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createAuthClient } from "../auth-eth/api.ts";
import { measureOsImage } from "./attestation/image/os-image.ts";
import { bindEvidence, reportData } from "./attestation/report-data.ts";
import { createCollateralStore } from "./attestation/tdx/collateral-store.ts";
import { intelSgxRootCa, loadTrustAnchor, type TrustAnchor } from "./attestation/tdx/trust-anchor.ts";
import { createVerifier, type VerifiedEvidence, type Verifier } from "./attestation/verifier.ts";
import { type Authority, createAuthority } from "./authorization/authority.ts";
import { createDevPolicy, createWebhookPolicy, type Policy } from "./authorization/policy.ts";
import { keepSelfBoot } from "./authorization/self-boot.ts";
import type { Settings } from "./config.ts";
import { inContext, KmsError } from "./errors.ts";
import type { Random } from "./keys/root-keys.ts";
import { createOwnEvidence, type OwnEvidence } from "./own-evidence.ts";
import { readCertificate } from "./ra-tls/extensions.ts";
import { createGuestAgent, type GuestAgent } from "./ra-tls/guest-agent.ts";

/** For a decision of the webhook, which answers within five seconds itself. */
const WEBHOOK_DEADLINE_MS = 10_000;

export interface Services {
  readonly settings: Settings;
  readonly now: () => Date;
  readonly random: Random;
  readonly agent: GuestAgent;
  readonly verifier: Verifier;
  readonly ownEvidence: OwnEvidence;
  readonly authority: Authority;
}

export async function createServices(settings: Settings, version: string): Promise<Services> {
  const now = () => new Date();
  const anchor = await trustAnchor(settings.tdxRootFile);
  const collateral = createCollateralStore({ pccsUrl: settings.pccsUrl, anchor, now });
  const verifier = createVerifier({ tdxRoot: anchor, collateral, now });
  const agent = createGuestAgent(settings.agentAddress);
  const ownEvidence = createOwnEvidence(agent, verifier);
  const authority = createAuthority({
    policy: createPolicy(settings, version),
    measure: settings.image.verify ? measureOsImage : undefined,
    selfBoot: settings.enforceSelfAuthorization ? keepSelfBoot(() => ownEvidence.appraise(""), now) : undefined,
    now,
  });
  const random: Random = (length) => new Uint8Array(randomBytes(length));
  return { settings, now, random, agent, verifier, ownEvidence, authority };
}

function createPolicy({ auth }: Settings, version: string): Policy {
  if (auth.type === "dev") return createDevPolicy(auth.gatewayAppId);
  const userAgent = `dstack-kms/${version}`;
  return createWebhookPolicy(createAuthClient({ url: auth.url, deadlineMs: WEBHOOK_DEADLINE_MS, userAgent }));
}

async function trustAnchor(file: string | undefined): Promise<TrustAnchor> {
  if (file === undefined) return intelSgxRootCa;
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new KmsError("malformed.config", `core.attestation.root_ca.tdx: cannot read ${file}`, { cause });
  });
  return loadTrustAnchor(bytes);
}

/** The caller behind a client certificate. The evidence must be bound to the very key that the certificate has. */
export async function authenticate(verifier: Verifier, peerDer: Uint8Array | undefined): Promise<VerifiedEvidence | undefined> {
  if (peerDer === undefined) return undefined;
  const { evidence, spki } = readCertificate(peerDer);
  if (evidence === undefined) return undefined;
  try {
    return await verifier.verify(bindEvidence(evidence, reportData("ratls-cert", spki)));
  } catch (thrown) {
    throw inContext("invalid quote", thrown);
  }
}
