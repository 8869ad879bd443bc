/** Encryption to an app's environment key: X25519 with an ephemeral key, its shared secret as AES-256-GCM key, as deployed guests read it. */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { x25519 } from "@noble/curves/ed25519.js";
import { concat, needLength } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { wipe } from "../../kms/keys/kdf.ts";

const algorithm = "aes-256-gcm";
const keyLength = 32;
const ivLength = 12;
const tagLength = 16;
const headLength = keyLength + ivLength;
/** Guests read no larger file. */
export const maxSealedBytes = 256 * 1024;

/** Ephemeral public key, IV, ciphertext, tag. `random` must be unpredictable: the ephemeral key and the IV are drawn from it. */
export function sealEnv(plaintext: Uint8Array, recipient: Uint8Array, random: (length: number) => Uint8Array): Uint8Array {
  const secret = random(keyLength);
  const iv = random(ivLength);
  const shared = sharedSecret(secret, recipient);
  const cipher = createCipheriv(algorithm, shared, iv);
  const sealed = concat(x25519.getPublicKey(secret), iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
  wipe(secret, shared);
  if (sealed.length <= maxSealedBytes) return sealed;
  throw new KmsError("malformed.file", `encrypted environment: need at most ${maxSealedBytes} bytes, have ${sealed.length}`);
}

export function openEnv(sealed: Uint8Array, envCryptKey: Uint8Array): Uint8Array {
  if (sealed.length < headLength + tagLength) {
    throw new KmsError(
      "malformed.file",
      `encrypted environment: need ${headLength + tagLength} bytes and more, have ${sealed.length}`,
    );
  }
  const shared = sharedSecret(envCryptKey, sealed.subarray(0, keyLength));
  const iv = sealed.subarray(keyLength, headLength);
  const decipher = createDecipheriv(algorithm, shared, iv, { authTagLength: tagLength }).setAuthTag(sealed.subarray(-tagLength));
  try {
    return concat(decipher.update(sealed.subarray(headLength, -tagLength)), decipher.final());
  } catch (cause) {
    throw new KmsError("malformed.file", "encrypted environment: not encrypted to this key, or changed since", { cause });
  } finally {
    wipe(shared);
  }
}

/** A point of small order would make the secret zero, known to everyone: the library refuses it. */
function sharedSecret(secret: Uint8Array, point: Uint8Array): Uint8Array {
  needLength(secret, keyLength, "environment key", "malformed.key");
  needLength(point, keyLength, "environment public key", "malformed.key");
  try {
    return x25519.getSharedSecret(secret, point);
  } catch (cause) {
    throw new KmsError("malformed.key", "environment key: no shared secret with this public key", { cause });
  }
}
