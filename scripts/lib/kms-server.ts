/** Which server a client takes for the KMS: its root key, the usage of its leaf, and the evidence in it. */
import { X509Certificate } from "node:crypto";
import { bindEvidence, reportData } from "../../kms/attestation/report-data.ts";
import type { Verifier } from "../../kms/attestation/verifier.ts";
import { equal } from "../../kms/bytes.ts";
import { inContext, KmsError } from "../../kms/errors.ts";
import { needKmsUsage, type ServerCheck } from "../../kms/ra-tls/client.ts";

/** SubjectPublicKeyInfo of a certificate in PEM. */
export function certificateKey(pem: string, what: string): Uint8Array {
  try {
    return new Uint8Array(new X509Certificate(pem).publicKey.export({ format: "der", type: "spki" }));
  } catch (cause) {
    throw new KmsError("malformed.certificate", `${what}: not a certificate in PEM`, { cause });
  }
}

/** Keys are compared, never certificates: every node of a trust domain has its own root certificate over the same key. */
export function requireRootKey(caCertPem: string, expectedSpki: Uint8Array, source: string): void {
  if (equal(certificateKey(caCertPem, source), expectedSpki)) return;
  throw new KmsError("unproven.server-identity", `${source}: the root certificate does not hold the expected key`);
}

/**
 * As guests check it: an app's certificate under the same root is not the KMS, and evidence that is there has to be the leaf's and to
 * verify. `verifier` undefined leaves out the last.
 */
export function kmsServerCheck(verifier: Pick<Verifier, "verify"> | undefined): ServerCheck {
  return async (leaf) => {
    needKmsUsage(leaf);
    if (leaf.appId !== undefined) throw new KmsError("unproven.server-identity", "the server's certificate is an app's");
    if (leaf.evidence === undefined) return;
    try {
      const bound = bindEvidence(leaf.evidence, reportData("ratls-cert", leaf.spki));
      await verifier?.verify(bound);
    } catch (thrown) {
      throw inContext("evidence of the KMS", thrown);
    }
  };
}
