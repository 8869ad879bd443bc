/** An authority of our own with an intermediate, a leaf and two revocation lists; a test breaks one part of it. */
import { expect } from "vitest";
import { RevocationLists } from "../../kms/attestation/tdx/revocation.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { parseChain, verifyPath, verifyUnrevoked } from "../../kms/attestation/tdx/x509-path.ts";
import type { Code } from "../../kms/errors.ts";
import * as der from "../../scripts/devnet/der.ts";
import * as pki from "./tdx-pki.ts";

export const root = pki.party("Root CA");
export const middle = pki.party("Platform CA");
export const leaf = pki.party("Leaf");
export const stranger = pki.party("Root CA");
export const anchorDer = pki.certificate({ subject: root, issuer: root, extensions: [pki.ca()] });
export const anchor = loadTrustAnchor(anchorDer);
export const middlePlan: pki.CertificatePlan = { subject: middle, issuer: root, serial: der.integer(5), extensions: [pki.ca(0)] };
export const leafPlan: pki.CertificatePlan = { subject: leaf, issuer: middle };
export const NOW = Date.parse("2026-01-01T00:00:00Z") / 1000;

export interface World {
  readonly leaf?: Partial<pki.CertificatePlan>;
  readonly middle?: Partial<pki.CertificatePlan>;
  readonly chain?: readonly Uint8Array[];
  readonly rootCrl?: Partial<pki.CrlPlan>;
  readonly pckCrl?: Partial<pki.CrlPlan>;
  readonly at?: number;
}

export function verifyWorld(world: World): void {
  const at = world.at ?? NOW;
  const rootCaCrl = pki.crl({ issuer: root, ...world.rootCrl });
  const pckCrl = pki.crl({ issuer: middle, ...world.pckCrl });
  const lists = new RevocationLists({ rootCaCrl, pckCrl, anchor, at });
  lists.requireUnrevoked(anchor.certificate, anchor.certificate);
  const chain = world.chain ?? [
    pki.certificate({ ...leafPlan, ...world.leaf }),
    pki.certificate({ ...middlePlan, ...world.middle }),
    anchorDer,
  ];
  verifyUnrevoked(verifyPath(parseChain(pki.pem(...chain)), { anchor, at }), anchor, lists);
}

export interface Case extends World {
  readonly name: string;
  readonly code: Code | "accepted";
}

export function check({ code, ...world }: Case): void {
  if (code === "accepted") expect(() => verifyWorld(world)).not.toThrow();
  else expect(() => verifyWorld(world)).toThrow(expect.objectContaining({ code }));
}
