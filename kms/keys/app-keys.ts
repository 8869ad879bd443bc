/** What an authorized app gets: its disk, environment and signing keys, each bound to its app id, and the root's signatures over them. */
import { createPrivateKey, createPublicKey } from "node:crypto";
import type { AuthorizedBoot } from "../authorization/authorized-boot.ts";
import { concat, fromHex, toHex } from "../bytes.ts";
import { KmsError } from "../errors.ts";
import { deriveDhSecret, deriveK256, deriveP256, k256Point, p256Point, purposes, signaturePrefixes, wipe } from "./kdf.ts";
import type { RootKeys } from "./root-keys.ts";
import { sign65 } from "./signature.ts";

const appIdLength = 20;
const instanceIdLength = 20;

/** PKCS#8 of an X25519 key (RFC 8410), before its 32 bytes. */
const x25519Pkcs8Head = fromHex("302e020100300506032b656e04220420", "PKCS#8 head", 16);

export interface AppKeys {
  readonly diskCryptKey: Uint8Array;
  /** An X25519 private key as derived: clients clamp it themselves. */
  readonly envCryptKey: Uint8Array;
  readonly k256Key: Uint8Array;
  readonly k256Signature: Uint8Array;
}

export interface SignedEnvPublicKey {
  readonly publicKey: Uint8Array;
  readonly signature: Uint8Array;
  /** Seconds since 1970. */
  readonly timestamp: bigint;
  readonly signatureV1: Uint8Array;
}

/** The one door to an app's keys: it opens only to a boot that the policy allowed. */
export function deriveAppKeys(root: RootKeys, boot: AuthorizedBoot): AppKeys {
  const appId = needAppId(boot.info.appId);
  const instanceId = needInstanceId(boot.info.instanceId);
  const k256Key = deriveK256(root.k256Key, [appId, purposes.k256]);
  const k256Signature = root.signatures.of(signaturePrefixes.appKey, [appId], () =>
    sign65(root.k256Key, signaturePrefixes.appKey, appId, k256Point(k256Key)),
  );
  return {
    diskCryptKey: deriveSecret(root, [appId, instanceId], purposes.disk),
    envCryptKey: deriveEnvKey(root, appId),
    k256Key,
    k256Signature,
  };
}

/** The public half of an app's environment key, for anyone. The second signature covers the time, so that clients can refuse old answers. */
export function signEnvPublicKey(root: RootKeys, appId: Uint8Array, now: Date): SignedEnvPublicKey {
  const privateKey = deriveEnvKey(root, needAppId(appId));
  const publicKey = x25519Public(privateKey);
  wipe(privateKey);
  const timestamp = BigInt(Math.floor(now.getTime() / 1000));
  const sign = (message: Uint8Array) => sign65(root.k256Key, signaturePrefixes.envKey, appId, message);
  const signature = root.signatures.of(signaturePrefixes.envKey, [appId], () => sign(publicKey));
  return { publicKey, signature, timestamp, signatureV1: sign(concat(bigEndian64(timestamp), publicKey)) };
}

/** The scalar of an app's certificate authority: the same at every call, while its certificate is made anew. */
export function deriveAppCaScalar(root: RootKeys, boot: AuthorizedBoot): Uint8Array {
  return deriveP256(root.caScalar, [needAppId(boot.info.appId), purposes.appCa]);
}

/** RFC 7748; Node's own, as it takes a sixth of the time. */
function x25519Public(privateKey: Uint8Array): Uint8Array {
  const document = concat(x25519Pkcs8Head, privateKey);
  const key = createPrivateKey({
    key: Buffer.from(document.buffer, document.byteOffset, document.length),
    format: "der",
    type: "pkcs8",
  });
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  wipe(document);
  return new Uint8Array(spki.subarray(-32));
}

function deriveEnvKey(root: RootKeys, appId: Uint8Array): Uint8Array {
  return deriveSecret(root, [appId], purposes.env);
}

/** The point takes most of the time of a derivation, and is public. */
function deriveSecret(root: RootKeys, ids: readonly Uint8Array[], purpose: Uint8Array): Uint8Array {
  const pointOf = (scalar: Uint8Array) => root.points.of(toHex(purpose), ids, () => p256Point(scalar));
  return deriveDhSecret(root.caScalar, [...ids, purpose], pointOf);
}

function needAppId(appId: Uint8Array): Uint8Array {
  if (appId.length !== appIdLength) throw new KmsError("malformed.length", "app_id must be 20 bytes");
  return appId;
}

/** Empty for an app without instances; any other length would blur into its neighbours in the derivation context. */
function needInstanceId(instanceId: Uint8Array): Uint8Array {
  if (instanceId.length === 0 || instanceId.length === instanceIdLength) return instanceId;
  throw new KmsError("malformed.length", `instance_id must be ${instanceIdLength} bytes or empty, have ${instanceId.length}`);
}

function bigEndian64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}
