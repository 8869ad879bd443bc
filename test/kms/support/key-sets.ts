/** A whole new KMS for tests of the store, without evidence. */
import { randomBytes } from "node:crypto";
import { makeRootCa, makeRpcLeaf, makeTempCa } from "../../../kms/ca/kms-certificates.ts";
import { p256Spki } from "../../../kms/keys/kdf.ts";
import { encodeKeyPem } from "../../../kms/keys/key-pem.ts";
import { generateP256Scalar, generateRootKeys } from "../../../kms/keys/root-keys.ts";
import type { KeySet } from "../../../kms/keys/store.ts";

export const keyFiles = ["tmp-ca.key", "root-ca.key", "rpc.key", "root-k256.key", "tmp-ca.crt", "root-ca.crt", "rpc.crt"];
export const secretFiles = keyFiles.filter((name) => name.endsWith(".key"));

export function systemRandom(length: number): Uint8Array {
  return new Uint8Array(randomBytes(length));
}

export async function newKeySet(now = new Date("2026-11-21T00:00:00Z")): Promise<KeySet> {
  const rootKeys = generateRootKeys(systemRandom);
  const [tempCaScalar, rpcScalar] = [generateP256Scalar(systemRandom), generateP256Scalar(systemRandom)];
  const rootCaCertPem = await makeRootCa(rootKeys, now);
  const rpcSpki = p256Spki(rpcScalar);
  return {
    rootKeys,
    tempCaKeyPem: new TextDecoder().decode(encodeKeyPem(tempCaScalar)),
    tempCaCertPem: await makeTempCa(tempCaScalar, now),
    rootCaCertPem,
    rpcKeyPem: encodeKeyPem(rpcScalar),
    rpcCertPem: await makeRpcLeaf({ root: rootKeys, rootCaCertPem, rpcSpki, domain: "kms.test", evidence: undefined, now }),
  };
}
