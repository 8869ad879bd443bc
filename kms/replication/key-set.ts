/** From the keys of a KMS, made here or taken over, to everything that is stored: certificates are always issued here. */
import { fromUtf8 } from "../bytes.ts";
import { makeRootCa, makeRpcLeaf, makeTempCa } from "../ca/kms-certificates.ts";
import { p256Spki, wipe } from "../keys/kdf.ts";
import { encodeKeyPem } from "../keys/key-pem.ts";
import type { RootKeys } from "../keys/root-keys.ts";
import type { KeySet } from "../keys/store.ts";
import type { OwnEvidence } from "../own-evidence.ts";

export interface KeySetSettings {
  readonly attestRpcCert: boolean;
  readonly ownEvidence: OwnEvidence;
  readonly now: () => Date;
}

export interface KmsKeys {
  readonly rootKeys: RootKeys;
  readonly tempCaScalar: Uint8Array;
  readonly rpcScalar: Uint8Array;
}

export async function makeKeySet(settings: KeySetSettings, domain: string, keys: KmsKeys): Promise<KeySet> {
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

export function wipeKeys({ rootKeys, tempCaScalar, rpcScalar }: KmsKeys): void {
  rootKeys.wipe();
  wipe(tempCaScalar, rpcScalar);
}
