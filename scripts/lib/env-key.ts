/** The answer of GetAppEnvEncryptPubKey: whoever passed it on may have replaced it, so nothing is encrypted before its signatures hold. */
import { z } from "zod";
import { concat, equal, fromHex, toHex } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { signaturePrefixes } from "../../kms/keys/kdf.ts";
import { recoverSigner65 } from "../../kms/keys/signature.ts";

/** As client libraries have it: older answers may be replays, newer ones come from a clock that is wrong. */
const maxAgeSeconds = 300;
const maxAheadSeconds = 60;

const hex = (bytes: number) =>
  z
    .string()
    .transform((text) => text.replace(/^0x/, "").toLowerCase())
    .pipe(
      z
        .string()
        .regex(/^[0-9a-f]*$/)
        .length(2 * bytes),
    );
const answerSchema = z.object({
  public_key: hex(32),
  signature: hex(65),
  // releases before 0.5.6 sign no time
  timestamp: z.int().nonnegative().default(0),
  signature_v1: z.union([z.literal("").transform(() => undefined), hex(65)]).optional(),
});

export interface EnvKeyTerms {
  readonly appId: Uint8Array;
  /** The registered k256 root key, compressed. */
  readonly k256Root: Uint8Array;
  readonly now: Date;
  /** Take an answer that is signed without a time, which can be a replay of any age. */
  readonly acceptUntimed: boolean;
}

export function verifyEnvKey(answer: unknown, { appId, k256Root, now, acceptUntimed }: EnvKeyTerms): Uint8Array {
  const parsed = answerSchema.safeParse(answer);
  if (!parsed.success) throw new KmsError("malformed.file", "GetAppEnvEncryptPubKey: the answer does not have its form");
  const { public_key, signature, signature_v1, timestamp } = parsed.data;
  const publicKey = fromHex(public_key, "public_key", 32);
  const needSigner = (name: string, text: string, message: Uint8Array) => {
    const signer = recoverSigner65(fromHex(text, name, 65), signaturePrefixes.envKey, appId, message);
    if (!equal(signer, k256Root)) throw refuse(`${name} is by ${toHex(signer)}, need ${toHex(k256Root)}`);
  };
  needSigner("signature", signature, publicKey);
  if (signature_v1 !== undefined) {
    needSigner("signature_v1", signature_v1, concat(bigEndian64(timestamp), publicKey));
    needRecent(timestamp, now);
  } else if (!acceptUntimed) {
    throw refuse("signature_v1 is missing: without a signed time the answer may be a replay");
  }
  return publicKey;
}

function needRecent(timestamp: number, now: Date): void {
  const age = Math.floor(now.getTime() / 1000) - timestamp;
  if (age > maxAgeSeconds) throw refuse(`signed ${age} s ago, need at most ${maxAgeSeconds} s`);
  if (age < -maxAheadSeconds) throw refuse(`signed ${-age} s in the future, need at most ${maxAheadSeconds} s`);
}

function bigEndian64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

function refuse(message: string): KmsError {
  return new KmsError("unproven.env-key", `environment key: ${message}`);
}
