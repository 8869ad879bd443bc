/** The keys that another KMS gave, from text to scalars: one set, in range, and those whose certificates it showed before. */
import { equal, fromHex, needLength, utf8 } from "../bytes.ts";
import { parseCertificate } from "../ca/profile.ts";
import { inContext, KmsError } from "../errors.ts";
import { p256Spki, wipe } from "../keys/kdf.ts";
import { decodeKeyPem } from "../keys/key-pem.ts";
import { generateP256Scalar, type Random, RootKeys } from "../keys/root-keys.ts";
import type { TempCa } from "../ra-tls/identity.ts";
import type { KmsKeys } from "./key-set.ts";
import type { KmsKeyAnswer } from "./source.ts";

const K256_KEY_BYTES = 32;

/** The RPC key is never inherited: each node proves itself by a key of its own. The owner of the result wipes it. */
export function parseReceivedKeys(answer: KmsKeyAnswer, shown: TempCa, random: Random): KmsKeys {
  const [only, ...more] = answer.keys;
  if (only === undefined || more.length > 0) throw new KmsError("malformed.key", "Invalid keys");
  const secrets: Uint8Array[] = [];
  try {
    const caScalar = keep(secrets, scalarOf(only.caKeyPem, "root CA key"));
    const k256Key = keep(secrets, k256KeyOf(only.k256KeyHex));
    const tempCaScalar = scalarOf(answer.tempCaKeyPem, "temp CA key");
    needCertificateOf(caScalar, shown.caCertPem, "root CA key");
    needCertificateOf(tempCaScalar, shown.tempCaCertPem, "temp CA key");
    return { rootKeys: new RootKeys(caScalar, k256Key), tempCaScalar, rpcScalar: generateP256Scalar(random) };
  } finally {
    wipe(...secrets);
  }
}

function scalarOf(pem: string, what: string): Uint8Array {
  try {
    return decodeKeyPem(utf8(pem));
  } catch (thrown) {
    throw inContext(`Invalid keys: ${what}`, thrown);
  }
}

/** Writers of very old releases put `0x` in front of hex. */
function k256KeyOf(text: string): Uint8Array {
  const bytes = fromHex(text.replace(/^(?:0x)+/, ""), "Invalid keys: root k256 key", undefined, "malformed.key");
  return needLength(bytes, K256_KEY_BYTES, "Invalid keys: root k256 key", "malformed.key");
}

/** Both answers came from one attested key, so they must tell of one KMS. */
function needCertificateOf(scalar: Uint8Array, certificatePem: string, what: string): void {
  const spki = new Uint8Array(parseCertificate(certificatePem).publicKey.rawData);
  if (!equal(spki, p256Spki(scalar))) {
    throw new KmsError(
      "unproven.server-identity",
      `Invalid keys: ${what} is not the key of the certificate that the source showed`,
    );
  }
}

function keep(secrets: Uint8Array[], secret: Uint8Array): Uint8Array {
  secrets.push(secret);
  return secret;
}
