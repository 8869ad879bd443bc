/** What shows that two sets of root keys derive the same: public keys, and a digest over public halves of one made-up app's keys. */
import { createHash } from "node:crypto";
import { toHex, utf8 } from "../bytes.ts";
import { signEnvPublicKey } from "../keys/app-keys.ts";
import { deriveK256, deriveP256, k256Point, p256Spki, purposes, wipe } from "../keys/kdf.ts";
import { caSpki, k256Pubkey, type RootKeys } from "../keys/root-keys.ts";

const label = "keyward-backup-probe-v1";
/** No contract has this address: it is the start of the label's digest. */
const probeApp = new Uint8Array(createHash("sha256").update(label).digest()).slice(0, 20);

export interface KeyProof {
  /** SubjectPublicKeyInfo of the root CA, as KmsAuth has it. */
  readonly caPubkey: string;
  /** Compressed secp256k1 root key, as KmsAuth has it. */
  readonly k256Pubkey: string;
  readonly probe: string;
}

/** Every derivation that guests depend on goes in: the app's signing key, its environment key, its certificate authority. */
export function proveRootKeys(rootKeys: RootKeys): KeyProof {
  const appKey = deriveK256(rootKeys.k256Key, [probeApp, purposes.k256]);
  const appCa = deriveP256(rootKeys.caScalar, [probeApp, purposes.appCa]);
  const { publicKey } = signEnvPublicKey(rootKeys, probeApp, new Date(0));
  const digest = createHash("sha256").update(utf8(label)).update(k256Point(appKey)).update(p256Spki(appCa)).update(publicKey);
  wipe(appKey, appCa);
  return { caPubkey: toHex(caSpki(rootKeys)), k256Pubkey: toHex(k256Pubkey(rootKeys)), probe: digest.digest("hex") };
}

export function sameProof(a: KeyProof, b: KeyProof): boolean {
  return a.caPubkey === b.caPubkey && a.k256Pubkey === b.k256Pubkey && a.probe === b.probe;
}
