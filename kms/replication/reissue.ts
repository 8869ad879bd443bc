/** The certificates of a KMS at each start: the RPC leaf anew, with fresh evidence; a CA's only when it ends soon. Keys never change. */
import { utf8 } from "../bytes.ts";
import { makeRootCa, makeRpcLeaf, makeTempCa, renewalDue } from "../ca/kms-certificates.ts";
import { wipe } from "../keys/kdf.ts";
import { decodeKeyPem } from "../keys/key-pem.ts";
import { replaceCertificate, type StoredKeySet } from "../keys/store.ts";
import type { Disk } from "../keys/store-disk.ts";
import type { OwnEvidence } from "../own-evidence.ts";

export interface ReissueSettings {
  readonly certDir: string;
  readonly attestRpcCert: boolean;
  readonly ownEvidence: OwnEvidence;
  readonly now: () => Date;
  readonly disk?: Disk | undefined;
}

/** Everything is made before anything is written. */
export async function reissueCertificates(settings: ReissueSettings, stored: StoredKeySet): Promise<StoredKeySet> {
  const now = settings.now();
  const evidence = settings.attestRpcCert ? await settings.ownEvidence.forCertificate(stored.rpcSpki) : undefined;
  const rootCaCertPem = renewalDue(stored.rootCaCertPem, now)
    ? await makeRootCa(stored.rootKeys, now, stored.rootCaCertPem)
    : stored.rootCaCertPem;
  const tempCaCertPem = renewalDue(stored.tempCaCertPem, now) ? await renewTempCa(stored, now) : stored.tempCaCertPem;
  const { rootKeys: root, rpcSpki, domain } = stored;
  const rpcCertPem = await makeRpcLeaf({ root, rootCaCertPem, rpcSpki, domain, evidence, now });

  const { certDir, disk } = settings;
  if (rootCaCertPem !== stored.rootCaCertPem) await replaceCertificate(certDir, "root-ca.crt", rootCaCertPem, disk);
  if (tempCaCertPem !== stored.tempCaCertPem) await replaceCertificate(certDir, "tmp-ca.crt", tempCaCertPem, disk);
  await replaceCertificate(certDir, "rpc.crt", rpcCertPem, disk);
  return { ...stored, rootCaCertPem, tempCaCertPem, rpcCertPem };
}

async function renewTempCa(stored: StoredKeySet, now: Date): Promise<string> {
  const scalar = decodeKeyPem(utf8(stored.tempCaKeyPem));
  try {
    return await makeTempCa(scalar, now, stored.tempCaCertPem);
  } finally {
    wipe(scalar);
  }
}
