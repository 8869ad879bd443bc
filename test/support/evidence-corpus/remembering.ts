/** Cases of the corpus with the very objects that a verifier remembers: what a case does not change is the base's own. */
import { decodeEvidence } from "../../../kms/attestation/evidence.ts";
import { type Collateral, parseCollateral } from "../../../kms/attestation/tdx/collateral.ts";
import type { OpenedCollateral } from "../../../kms/attestation/tdx/opened-collateral.ts";
import { parseQuote } from "../../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../../../kms/attestation/tdx/verify.ts";
import { asKmsError } from "../../../kms/errors.ts";
import { type Case, type PartName, type Parts, partsOf, readCorpusFile, readManifest, text } from "./format.ts";
import { collateralText } from "./judge.ts";

const { bases } = readManifest();
export const nothing = new Uint8Array();

export interface Opened {
  readonly parts: Parts;
  readonly collateral: Collateral;
  readonly anchor: ReturnType<typeof loadTrustAnchor>;
}

const opened = new Map<string, Opened>();

function open(name: string): Opened {
  const base = bases[name];
  if (base === undefined) throw new Error(`no base ${name}`);
  const parts = partsOf(base, readCorpusFile);
  const collateral = parseCollateral(collateralText(parts));
  return { parts, collateral, anchor: loadTrustAnchor(parts.root ?? nothing) };
}

export function baseOf(name: string): Opened {
  const found = opened.get(name) ?? open(name);
  opened.set(name, found);
  return found;
}

const members = {
  root_ca_crl: "rootCaCrl",
  pck_crl: "pckCrl",
  tcb_info_issuer_chain: "tcbInfoIssuerChain",
  tcb_info: "tcbInfo",
  tcb_info_signature: "tcbInfoSignature",
  qe_identity_issuer_chain: "qeIdentityIssuerChain",
  qe_identity: "qeIdentity",
  qe_identity_signature: "qeIdentitySignature",
  pck_certificate_chain: "pckCertificateChain",
} as const satisfies Partial<Record<PartName, keyof Collateral>>;

/** The base's collateral with the very same objects but for the parts that the case changes. */
export function collateralOf(entry: Case, base: Opened, parts: Parts): Collateral {
  const changed = new Set(entry.changes.map(({ part }) => part));
  const fresh = parseCollateral(collateralText(parts));
  const own = Object.entries(members).filter(([part]) => changed.has(part as PartName));
  return { ...base.collateral, ...Object.fromEntries(own.map(([, member]) => [member, fresh[member]])) };
}

/** What comes out as one text: status and advisories, or a code. */
export function verify(parts: Parts, collateral: Collateral, anchor: Opened["anchor"], memory?: OpenedCollateral): string {
  try {
    const platform = parts.attestation && decodeEvidence(parts.attestation).platform;
    const quote = parseQuote(platform?.kind === "tdx" ? platform.quote : (parts.quote ?? nothing));
    const { status, advisoryIds } = verifyQuote(
      { quote, collateral, anchor, now: new Date(text(parts.time ?? nothing)) },
      memory,
    );
    return [status, ...advisoryIds].join(" ");
  } catch (thrown) {
    return asKmsError(thrown).code;
  }
}
