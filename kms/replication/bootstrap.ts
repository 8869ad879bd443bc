/** Makes a new KMS, once: policy first, then keys, certificates and evidence in memory, then all of it on disk or nothing. */
import { bootstrapReportData } from "../attestation/report-data.ts";
import type { Authority } from "../authorization/authority.ts";
import { inContext, KmsError } from "../errors.ts";
import { caSpki, generateP256Scalar, generateRootKeys, k256Pubkey, type Random, type RootKeys } from "../keys/root-keys.ts";
import { createKeySet, inspectKeyStore, type KeySet } from "../keys/store.ts";
import type { Disk } from "../keys/store-disk.ts";
import { exists } from "../keys/store-files.ts";
import { type BootstrapInfo, formatBootstrapInfo } from "./bootstrap-info.ts";
import { type KeySetSettings, makeKeySet, wipeKeys } from "./key-set.ts";
import type { OneAtATime } from "./one-at-a-time.ts";
import { needNothingRegistered, type RegisteredKeysSettings } from "./registered-keys.ts";

export interface BootstrapSettings extends KeySetSettings, RegisteredKeysSettings {
  readonly certDir: string;
  /** Off together with `attestRpcCert`, auto-bootstrap needs no guest agent and leaves no bootstrap-info.json. */
  readonly enforceSelfAuthorization: boolean;
  readonly authority: Authority;
  readonly random: Random;
  readonly disk?: Disk | undefined;
  /** Shared with onboarding: two at once must not make two KMSs of one folder. */
  readonly alone: OneAtATime;
}

export interface Bootstrap {
  /** Asked for by the operator. */
  manual(domain: string): Promise<BootstrapInfo>;
  /** Asked for by `core.onboard.auto_bootstrap_domain`. */
  auto(domain: string): Promise<void>;
}

export function createBootstrap(settings: BootstrapSettings): Bootstrap {
  const { certDir, alone, disk } = settings;
  return {
    manual: (domain) =>
      alone(async () => {
        await needPermission(settings, "bootstrap");
        return withFreshKeys(settings, domain, async (keySet) => {
          const info = await proveKeys(settings, keySet.rootKeys);
          await createKeySet(certDir, keySet, domain, formatBootstrapInfo(info), disk);
          return info;
        });
      }),
    auto: (domain) =>
      alone(async () => {
        await needPermission(settings, "auto-bootstrap");
        const isProvable = settings.attestRpcCert || settings.enforceSelfAuthorization;
        await withFreshKeys(settings, domain, async (keySet) => {
          const info = isProvable ? formatBootstrapInfo(await proveKeys(settings, keySet.rootKeys)) : undefined;
          await createKeySet(certDir, keySet, domain, info, disk);
        });
      }),
  };
}

/** Of the folder, of the policy, of the contract. */
async function needPermission(settings: BootstrapSettings, act: "bootstrap" | "auto-bootstrap"): Promise<void> {
  await needNoKeys(settings.certDir);
  await settings.authority.authorizeBootstrap(act);
  await needNothingRegistered(settings).catch((thrown: unknown) => {
    throw inContext(`KMS is not allowed to ${act}`, thrown);
  });
}

/** Any of these says that somebody began here: the reference writes bootstrap-info.json before the keys. */
const marks = ["bootstrap-info.json", "root-ca.key", "root-k256.key"] as const;

async function needNoKeys(certDir: string): Promise<void> {
  const present = await Promise.all(marks.map((name) => exists(certDir, name)));
  if (present.includes(true)) throw new KmsError("denied.already-bootstrapped", "KMS has already been bootstrapped");
  await inspectKeyStore(certDir); // refuses a folder that holds only other files of a KMS
}

async function withFreshKeys<T>(settings: BootstrapSettings, domain: string, use: (keySet: KeySet) => Promise<T>): Promise<T> {
  const { random } = settings;
  const keys = {
    rootKeys: generateRootKeys(random),
    tempCaScalar: generateP256Scalar(random),
    rpcScalar: generateP256Scalar(random),
  };
  try {
    const keySet = await makeKeySet(settings, domain, keys).catch((thrown: unknown) => {
      throw inContext("Failed to generate keys", thrown);
    });
    return await use(keySet);
  } finally {
    wipeKeys(keys);
  }
}

/** Evidence of this KMS over its public root keys: what the owner checks before registering them. */
async function proveKeys(settings: BootstrapSettings, rootKeys: RootKeys): Promise<BootstrapInfo> {
  const ca = caSpki(rootKeys);
  const k256 = k256Pubkey(rootKeys);
  const attestation = await settings.ownEvidence.envelope(bootstrapReportData(ca, k256));
  return { ca_pubkey: ca, k256_pubkey: k256, attestation };
}
