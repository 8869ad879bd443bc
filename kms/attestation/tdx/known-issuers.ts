/** CA certificates that stood above a leaf before: they are the same in every chain, so each is read once and its signature verified once. */
import { type Certificate, isIssuedBy } from "./x509.ts";

/** Intel has three. */
const MAX_KEPT = 16;

/** Belongs to one anchor. Dates, roles and revocation are judged each time: only a signature that holds will hold for ever. */
export class KnownIssuers {
  readonly #byText = new Map<string, Certificate>();
  readonly #signers = new WeakMap<Certificate, Certificate>();

  constructor(anchor: Certificate) {
    this.#keep(anchor);
  }

  /** By the base64 of its DER, as a PEM text holds it. */
  find(base64: string): Certificate | undefined {
    return this.#byText.get(base64);
  }

  isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
    if (this.#signers.get(certificate) === issuer) return true;
    if (!isIssuedBy(certificate, issuer.publicKey)) return false;
    this.#signers.set(certificate, issuer);
    return true;
  }

  /** Only what is part of a verified path, or strangers would decide what is kept. */
  keep(authorities: readonly Certificate[]): void {
    for (const certificate of authorities) if (this.#byText.size < MAX_KEPT) this.#keep(certificate);
  }

  #keep(certificate: Certificate): void {
    this.#byText.set(Buffer.from(certificate.raw).toString("base64"), certificate);
  }
}
