/** The trust anchor of a TDX verification: an input of production code. Intel's own root is compiled in. */
import { equal } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { INTEL_SGX_ROOT_CA_DER } from "./intel-root.ts";
import { derFromPem } from "./pem.ts";
import { type Certificate, isIssuedBy, parseCertificate } from "./x509.ts";

export interface TrustAnchor {
  readonly certificate: Certificate;
}

/** One self-issued CA certificate, DER or PEM, and nothing after it. */
export function loadTrustAnchor(derOrPem: Uint8Array): TrustAnchor {
  try {
    const certificate = parseCertificate(derFromPem(derOrPem));
    if (!equal(certificate.subject, certificate.issuer)) throw refuse("need a self-issued certificate");
    if (!certificate.isCa) throw refuse("need a CA certificate");
    if (!isIssuedBy(certificate, certificate.publicKey)) throw refuse("InvalidSignatureForPublicKey");
    return { certificate };
  } catch (cause) {
    const detail = cause instanceof KmsError ? cause.message : "unexpected error";
    throw new KmsError("malformed.certificate", `Failed to load root ca: ${detail}`, { cause });
  }
}

function refuse(detail: string): KmsError {
  return new KmsError("malformed.certificate", detail);
}

/** CN=Intel SGX Root CA, valid 2018-05-21 to 2049-12-31. */
export const intelSgxRootCa: TrustAnchor = loadTrustAnchor(INTEL_SGX_ROOT_CA_DER);
