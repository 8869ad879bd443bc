/** Verifies one part of collateral by itself, before it is kept: signature, chain to the anchor, revocation, dates. */
import { equal } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { type ChainVerifier, openChains } from "./chain-verifier.ts";
import type { Collateral } from "./collateral.ts";
import {
  digestOf,
  encodeItem,
  type Facts,
  factsOf,
  type Item,
  type PckChainItem,
  type PckCrlItem,
  pckCaOfList,
} from "./collateral-items.ts";
import { isSignedBy, parseCrl } from "./crl.ts";
import { isPckCertificate } from "./pck.ts";
import type { TrustAnchor } from "./trust-anchor.ts";
import { verifySignedQeIdentity, verifySignedTcbInfo } from "./verify.ts";
import { type Certificate, isIssuedBy } from "./x509.ts";
import { parseChain, verifyPath } from "./x509-path.ts";

declare const verified: unique symbol;

/** Every rule that needs no quote was passed at one time, under one anchor and one root list. */
export interface VerifiedItem extends Facts {
  readonly [verified]: true;
  readonly item: Item;
  readonly digest: string;
}

export interface ItemVerification {
  readonly anchor: TrustAnchor;
  readonly now: Date;
  /** The newest known; a root list is its own. */
  readonly rootCrl: Uint8Array;
}

export function verifyItem(item: Item, { anchor, now, rootCrl }: ItemVerification): VerifiedItem {
  const list = item.kind === "root-crl" ? item.crl : rootCrl;
  // of the two places for lists both hold the root's: its own certificates are all that is judged here
  const chains = openChains({ rootCaCrl: list, pckCrl: list } as Collateral, anchor, now);
  const facts = factsOf(item);
  const chainEnds = verifyKind(item, chains);
  const digest = digestOf(encodeItem(item));
  return { ...facts, item, digest, lastSecond: Math.min(facts.lastSecond, chainEnds) } as VerifiedItem;
}

/** Returns the last second of the signer's certificate. */
function verifyKind(item: Item, chains: ChainVerifier): number {
  switch (item.kind) {
    case "root-crl":
      return chains.anchor.certificate.notAfter;
    case "pck-crl":
      return verifyPckCrl(item, chains);
    case "tcb-info": {
      const { text, signature, issuerChain } = item;
      verifySignedTcbInfo({ tcbInfo: text, tcbInfoSignature: signature, tcbInfoIssuerChain: issuerChain }, chains);
      return chains.leafOf(issuerChain).notAfter;
    }
    case "qe-identity": {
      const { text, signature, issuerChain } = item;
      verifySignedQeIdentity({ qeIdentity: text, qeIdentitySignature: signature, qeIdentityIssuerChain: issuerChain }, chains);
      return chains.leafOf(issuerChain).notAfter;
    }
    case "pck-chain":
      return verifyPckChain(item, chains);
  }
}

/** The list of a PCK CA. Its issuer stands directly below the anchor, as all of Intel's do, and is not revoked itself. */
function verifyPckCrl({ crl: der, ca: kind, issuerChain }: PckCrlItem, chains: ChainVerifier): number {
  const crl = parseCrl(der, "pck_crl");
  const [ca] = parseChain(issuerChain);
  requirePckCa(ca, chains);
  const refuse = (detail: string) => new KmsError("unproven.crl", detail);
  if (equal(crl.issuer, chains.anchor.certificate.subject)) throw refuse("pck_crl is the root's list");
  if (!equal(crl.issuer, ca.subject)) throw refuse("UnknownIssuer, pck_crl is not of the CA in its issuer chain");
  if (pckCaOfList(der) !== kind) throw refuse(`pck_crl is of another CA: need the ${kind} CA`);
  if (ca.keyUsage?.cRLSign === false) throw refuse("IssuerNotCrlSigner");
  if (!isSignedBy(crl, ca)) throw refuse("InvalidCrlSignatureForPublicKey");
  if (chains.at >= crl.nextUpdate) throw refuse(`CrlExpired, ended at ${crl.nextUpdate}, now ${chains.at}`);
  if (chains.at < crl.thisUpdate) throw refuse(`CrlNotValidYet, begins at ${crl.thisUpdate}, now ${chains.at}`);
  return ca.notAfter;
}

function requirePckCa(ca: Certificate, { anchor, at, lists }: ChainVerifier): void {
  const refuse = (detail: string) => new KmsError("unproven.certificate-chain", `pck_crl issuer chain: ${detail}`);
  if (!ca.isCa) throw refuse("EndEntityUsedAsCa");
  if (!equal(ca.issuer, anchor.certificate.subject)) throw refuse("UnknownIssuer, no path to the trust anchor");
  if (!isIssuedBy(ca, anchor.certificate.publicKey)) throw refuse("InvalidSignatureForPublicKey, not signed by the trust anchor");
  if (at < ca.notBefore) throw refuse(`CertNotValidYet, begins at ${ca.notBefore}, now ${at}`);
  if (at > ca.notAfter) throw refuse(`CertExpired, ended at ${ca.notAfter}, now ${at}`);
  lists.requireUnrevoked(ca, anchor.certificate);
}

/** Issuance only: the PCK CA's list judges the leaf in every verification of a quote. */
function verifyPckChain({ chain }: PckChainItem, { anchor, at }: ChainVerifier): number {
  const path = verifyPath(parseChain(chain), { anchor, at });
  if (isPckCertificate(path[0])) return Math.min(...path.map(({ notAfter }) => notAfter));
  throw new KmsError("unproven.certificate-chain", "the leaf is not a platform's certificate");
}
