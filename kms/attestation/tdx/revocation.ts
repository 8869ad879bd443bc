/** Revocation of the certificates of a path by the two lists of the collateral: unknown status is failure. */
import { equal } from "../../bytes.ts";
import { type Code, KmsError } from "../../errors.ts";
import { type Crl, isSignedBy, parseCrl } from "./crl.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import type { Certificate } from "./x509.ts";

export interface RevocationSettings {
  readonly rootCaCrl: Uint8Array;
  readonly pckCrl: Uint8Array;
  readonly anchor: TrustAnchor;
  /** Whole seconds since 1970. */
  readonly at: number;
}

export class RevocationLists {
  readonly #lists: readonly Crl[];
  readonly #anchor: Certificate;
  readonly #at: number;
  /** Which issuer each list was already verified with: one signature serves every certificate of a verification. */
  readonly #proven = new Map<Crl, Certificate>();

  constructor(settings: RevocationSettings) {
    // neither place nor member name ties a list to an issuer: the issuer name in the list does
    this.#lists = [parseCrl(settings.rootCaCrl, "root_ca_crl"), parseCrl(settings.pckCrl, "pck_crl")];
    this.#anchor = settings.anchor.certificate;
    this.#at = settings.at;
  }

  /** Seconds at which the first of the lists ends. */
  get nextUpdate(): number {
    return Math.min(...this.#lists.map((list) => list.nextUpdate));
  }

  /** Refuses a certificate that its issuer's list names, and one for which no good list exists. */
  requireUnrevoked(certificate: Certificate, issuer: Certificate): void {
    const list = this.#lists.find((candidate) => isAuthoritative(candidate, certificate));
    if (list === undefined) throw refuse("unproven.crl", "UnknownRevocationStatus, no revocation list of this issuer");
    if (this.#proven.get(list) !== issuer) {
      this.#requireGood(list, issuer);
      this.#proven.set(list, issuer);
    }
    if (list.revoked.has(certificate.serial)) {
      throw refuse("unproven.certificate-revoked", `CertRevoked, serial ${certificate.serial}`);
    }
  }

  #requireGood(list: Crl, issuer: Certificate): void {
    if (!isSignedBy(list, issuer)) throw refuse("unproven.crl", "InvalidCrlSignatureForPublicKey");
    if (this.#at >= list.nextUpdate) throw refuse("unproven.crl", `CrlExpired, ended at ${list.nextUpdate}, now ${this.#at}`);
    // stricter than the reference, which takes a list from the future: it was not published yet, so a clock is wrong
    if (this.#at < list.thisUpdate) {
      throw refuse("unproven.crl", `CrlNotValidYet, begins at ${list.thisUpdate}, now ${this.#at}`);
    }
    if (issuer !== this.#anchor && issuer.keyUsage?.cRLSign === false) {
      throw refuse("unproven.crl", "IssuerNotCrlSigner");
    }
  }
}

function isAuthoritative({ issuer, scope }: Crl, certificate: Certificate): boolean {
  if (!equal(issuer, certificate.issuer)) return false;
  if (scope === undefined) return true;
  if (scope.only !== undefined && (scope.only === "cas") !== certificate.isCa) return false;
  return certificate.crlUris?.some((uri) => scope.uris.includes(uri)) ?? true;
}

function refuse(code: Code, detail: string): KmsError {
  return new KmsError(code, detail);
}
