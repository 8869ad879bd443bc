/** The keys that another KMS gave, from text to scalars: one set, in range, and those whose certificates it showed before. */
import { equal, fromHex, utf8 } from "../bytes.ts";
import { parseCertificate } from "../ca/profile.ts";
import { inContext, KmsError } from "../errors.ts";
import { p256Spki, wipe } from "../keys/kdf.ts";
import { decodeKeyPem } from "../keys/key-pem.ts";
import { generateP256Scalar, type Random, RootKeys } from "../keys/root-keys.ts";
import type { TempCa } from "../ra-tls/identity.ts";
import type { KmsKeys } from "./key-set.ts";
import type { KmsKeyAnswer } from "./source.ts";

/** The RPC key is never inherited: each node proves itself by a key of its own. The owner of the result wipes it. */
export function parseReceivedKeys(answer: KmsKeyAnswer, shown: TempCa, random: Random): KmsKeys {
  const [only, ...more] = answer.keys;
  if (only === undefined || more.length > 0) throw new KmsError("malformed.key", "Invalid keys");
  const secrets: Uint8Array[] = [];
  try {
    const caScalar = scalarOf(only.caKeyPem, "root CA key");
    secrets.push(caScalar);
    const k256Key = fromHex(only.k256KeyHex.replace(/^(?:0x)+/, ""), "root k256 key", undefined, "malformed.key"); // 0x: old writers
    secrets.push(k256Key);
    const tempCaScalar = scalarOf(answer.tempCaKeyPem, "temp CA key");
    needCertificateOf(caScalar, shown.caCertPem, "root CA key");
    needCertificateOf(tempCaScalar, shown.tempCaCertPem, "temp CA key");
    return { rootKeys: new RootKeys(caScalar, k256Key), tempCaScalar, rpcScalar: generateP256Scalar(random) };
  } catch (thrown) {
    throw inContext("Invalid keys", thrown);
  } finally {
    wipe(...secrets);
  }
}

function scalarOf(pem: string, what: string): Uint8Array {
  try {
    return decodeKeyPem(utf8(pem));
  } catch (thrown) {
    throw inContext(what, thrown);
  }
}

/** Both answers came from one attested key, so they must tell of one KMS. */
function needCertificateOf(scalar: Uint8Array, certificatePem: string, what: string): void {
  const spki = new Uint8Array(parseCertificate(certificatePem).publicKey.rawData);
  if (!equal(spki, p256Spki(scalar))) {
    throw new KmsError("unproven.server-identity", `${what} is not the key of the certificate that the source showed`);
  }
}
