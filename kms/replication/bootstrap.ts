/** Makes a new KMS, once: policy first, then keys, certificates and evidence in memory, then all of it on disk or nothing. */
import { bootstrapReportData } from "../attestation/report-data.ts";
import type { Authority } from "../authorization/authority.ts";
import { fromUtf8 } from "../bytes.ts";
import { makeRootCa, makeRpcLeaf, makeTempCa } from "../ca/kms-certificates.ts";
import { inContext, KmsError } from "../errors.ts";
import { p256Spki, wipe } from "../keys/kdf.ts";
import { encodeKeyPem } from "../keys/key-pem.ts";
import { caSpki, generateP256Scalar, generateRootKeys, k256Pubkey, type Random, type RootKeys } from "../keys/root-keys.ts";
import { createKeySet, inspectKeyStore, type KeySet } from "../keys/store.ts";
import { exists } from "../keys/store-files.ts";
import type { OwnEvidence } from "../own-evidence.ts";
import { type BootstrapInfo, formatBootstrapInfo } from "./bootstrap-info.ts";

export interface BootstrapSettings {
  readonly certDir: string;
  readonly attestRpcCert: boolean;
  /** Off together with `attestRpcCert`, auto-bootstrap needs no guest agent and leaves no bootstrap-info.json. */
  readonly enforceSelfAuthorization: boolean;
  readonly authority: Authority;
  readonly ownEvidence: OwnEvidence;
  readonly random: Random;
  readonly now: () => Date;
}

export interface Bootstrap {
  /** Asked for by the operator. */
  manual(domain: string): Promise<BootstrapInfo>;
  /** Asked for by `core.onboard.auto_bootstrap_domain`. */
  auto(domain: string): Promise<void>;
}

export function createBootstrap(settings: BootstrapSettings): Bootstrap {
  let last: Promise<unknown> = Promise.resolve();
  /** Two callers at once must not make two KMSs: the second finds the keys of the first. */
  function alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = last.then(work, work);
    last = turn.catch(() => undefined);
    return turn;
  }
  return {
    manual: (domain) =>
      alone(async () => {
        await needNoKeys(settings.certDir);
        await settings.authority.authorizeBootstrap("bootstrap");
        return withFreshKeys(settings, domain, async (keySet) => {
          const info = await proveKeys(settings, keySet.rootKeys);
          await createKeySet(settings.certDir, keySet, domain, formatBootstrapInfo(info));
          return info;
        });
      }),
    auto: (domain) =>
      alone(async () => {
        await needNoKeys(settings.certDir);
        await settings.authority.authorizeBootstrap("auto-bootstrap");
        const isProvable = settings.attestRpcCert || settings.enforceSelfAuthorization;
        await withFreshKeys(settings, domain, async (keySet) => {
          const info = isProvable ? formatBootstrapInfo(await proveKeys(settings, keySet.rootKeys)) : undefined;
          await createKeySet(settings.certDir, keySet, domain, info);
        });
      }),
  };
}

/** Any of these says that somebody began here: the reference writes bootstrap-info.json before the keys. */
const marks = ["bootstrap-info.json", "root-ca.key", "root-k256.key"] as const;

async function needNoKeys(certDir: string): Promise<void> {
  const present = await Promise.all(marks.map((name) => exists(certDir, name)));
  if (present.includes(true)) throw new KmsError("denied.already-bootstrapped", "KMS has already been bootstrapped");
  await inspectKeyStore(certDir); // refuses a folder that holds only other files of a KMS
}

async function withFreshKeys<T>(settings: BootstrapSettings, domain: string, use: (keySet: KeySet) => Promise<T>): Promise<T> {
  const rootKeys = generateRootKeys(settings.random);
  const tempCaScalar = generateP256Scalar(settings.random);
  const rpcScalar = generateP256Scalar(settings.random);
  try {
    const keySet = await makeKeySet(settings, domain, { rootKeys, tempCaScalar, rpcScalar }).catch((thrown: unknown) => {
      throw inContext("Failed to generate keys", thrown);
    });
    return await use(keySet);
  } finally {
    rootKeys.wipe();
    wipe(tempCaScalar, rpcScalar);
  }
}

interface FreshKeys {
  readonly rootKeys: RootKeys;
  readonly tempCaScalar: Uint8Array;
  readonly rpcScalar: Uint8Array;
}

async function makeKeySet(settings: BootstrapSettings, domain: string, keys: FreshKeys): Promise<KeySet> {
  const { rootKeys, tempCaScalar, rpcScalar } = keys;
  const now = settings.now();
  const rpcSpki = p256Spki(rpcScalar);
  const evidence = settings.attestRpcCert ? await settings.ownEvidence.forCertificate(rpcSpki) : undefined;
  const rootCaCertPem = await makeRootCa(rootKeys, now);
  return {
    rootKeys,
    tempCaKeyPem: fromUtf8(encodeKeyPem(tempCaScalar), "temp CA key", "fault.internal"),
    tempCaCertPem: await makeTempCa(tempCaScalar, now),
    rootCaCertPem,
    rpcKeyPem: encodeKeyPem(rpcScalar),
    rpcCertPem: await makeRpcLeaf({ root: rootKeys, rootCaCertPem, rpcSpki, domain, evidence, now }),
  };
}

/** Evidence of this KMS over its public root keys: what the owner checks before registering them. */
async function proveKeys(settings: BootstrapSettings, rootKeys: RootKeys): Promise<BootstrapInfo> {
  const ca = caSpki(rootKeys);
  const k256 = k256Pubkey(rootKeys);
  const attestation = await settings.ownEvidence.envelope(bootstrapReportData(ca, k256));
  return { ca_pubkey: ca, k256_pubkey: k256, attestation };
}
