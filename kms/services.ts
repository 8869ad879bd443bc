/** Builds the collaborators of a KMS from its settings: guest agent, verifier, policy, authority. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createAuthClient } from "../auth-eth/api.ts";
import { createStands } from "./attestation/standing.ts";
import { collateralFolder } from "./attestation/tdx/collateral-disk.ts";
import { type CollateralStore, createCollateralStore } from "./attestation/tdx/collateral-store.ts";
import { intelSgxRootCa, loadTrustAnchor, type TrustAnchor } from "./attestation/tdx/trust-anchor.ts";
import { createVerifier, type Verifier } from "./attestation/verifier.ts";
import { type Authority, createAuthority } from "./authorization/authority.ts";
import { createDevPolicy, createWebhookPolicy, type Policy } from "./authorization/policy.ts";
import { keepSelfBoot } from "./authorization/self-boot.ts";
import type { Settings } from "./config.ts";
import { KmsError } from "./errors.ts";
import type { Random } from "./keys/root-keys.ts";
import { type Disk, systemDisk } from "./keys/store-disk.ts";
import { type Authenticate, createKnownCallers } from "./known-callers.ts";
import { createOsImages, type OsImages } from "./os-images.ts";
import { createOwnEvidence, type OwnEvidence } from "./own-evidence.ts";
import { createGuestAgent, type GuestAgent } from "./ra-tls/guest-agent.ts";

/** For a decision of the webhook, which answers within five seconds itself. */
const WEBHOOK_DEADLINE_MS = 10_000;

export interface Services {
  readonly settings: Settings;
  readonly now: () => Date;
  readonly random: Random;
  readonly disk: Disk;
  readonly agent: GuestAgent;
  readonly collateral: CollateralStore;
  readonly verifier: Verifier;
  readonly ownEvidence: OwnEvidence;
  readonly authority: Authority;
  readonly osImages: OsImages;
  readonly authenticate: Authenticate;
  /** Makes this KMS's evidence about itself anew, ahead of the request that would wait for it. */
  readonly renewSelfBoot: () => Promise<void>;
}

/** The clock is an argument, so that a test can let a month pass. */
export async function createServices(settings: Settings, version: string, now = () => new Date()): Promise<Services> {
  const anchor = await trustAnchor(settings.tdxRootFile);
  const { dir, isOffline } = settings.collateral;
  const folder = collateralFolder(dir, anchor);
  const collateral = createCollateralStore({ pccsUrl: settings.pccsUrl, anchor, now, folder, isOffline });
  await collateral.settled(); // what the folder has is known before anybody asks
  const verifier = createVerifier({ tdxRoot: anchor, collateral, now });
  const stands = createStands({ tdxRoot: anchor, isCurrent: collateral.isCurrent, now });
  const agent = createGuestAgent(settings.agentAddress);
  const ownEvidence = createOwnEvidence(agent, verifier);
  const osImages = await createOsImages(settings.image);
  const clock = () => performance.now(); // monotonic: no host sets it back
  const self = keepSelfBoot({ attest: () => ownEvidence.appraise(""), stands: (boot) => stands(boot.evidence), clock });
  const authority = createAuthority({
    policy: createPolicy(settings, version),
    measure: osImages.check,
    selfBoot: settings.enforceSelfAuthorization ? self.current : undefined,
    clock,
  });
  const random: Random = (length) => new Uint8Array(randomBytes(length));
  const authenticate = createKnownCallers({ verifier, stands });
  return {
    settings,
    now,
    random,
    disk: systemDisk,
    agent,
    collateral,
    verifier,
    ownEvidence,
    authority,
    osImages,
    authenticate,
    renewSelfBoot: self.renew,
  };
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
