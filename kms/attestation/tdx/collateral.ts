/** Collateral: what Intel publishes about a platform, as one value and in its JSON form. Nothing here is verified yet. */
import { z } from "zod";
import { fromHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { parseJson } from "./json-text.ts";

/** Real collateral has about 25 KB; a PCK CRL may grow to some hundred. */
export const MAX_COLLATERAL_CHARACTERS = 4 * 1024 * 1024;

export interface Collateral {
  /** DER. */
  readonly rootCaCrl: Uint8Array;
  /** DER. */
  readonly pckCrl: Uint8Array;
  /** PEM, leaf first. */
  readonly tcbInfoIssuerChain: string;
  /** The exact JSON text that was signed. */
  readonly tcbInfo: string;
  /** Raw r‖s. */
  readonly tcbInfoSignature: Uint8Array;
  readonly qeIdentityIssuerChain: string;
  /** The exact JSON text that was signed. */
  readonly qeIdentity: string;
  readonly qeIdentitySignature: Uint8Array;
  /** PEM. Takes precedence over the chain inside the quote, and so belongs to one machine. */
  readonly pckCertificateChain?: string;
}

const hex = z.string().transform((text, context) => {
  try {
    return fromHex(text, "collateral");
  } catch {
    context.addIssue("need hex");
    return z.NEVER;
  }
});
const signature = hex.refine((bytes) => bytes.length === 64, "need 64 bytes");

const collateralSchema = z.object({
  root_ca_crl: hex,
  pck_crl: hex,
  tcb_info_issuer_chain: z.string(),
  tcb_info: z.string(),
  tcb_info_signature: signature,
  qe_identity_issuer_chain: z.string(),
  qe_identity: z.string(),
  qe_identity_signature: signature,
  pck_certificate_chain: z.string().nullish(),
});

export function parseCollateral(json: string): Collateral {
  if (json.length > MAX_COLLATERAL_CHARACTERS) {
    throw new KmsError(
      "malformed.collateral",
      `collateral: at most ${MAX_COLLATERAL_CHARACTERS} characters, have ${json.length}`,
    );
  }
  const parsed = collateralSchema.safeParse(parseJson(json, "collateral"));
  if (!parsed.success) throw new KmsError("malformed.collateral", `collateral: ${z.prettifyError(parsed.error)}`);
  const { data } = parsed;
  return {
    rootCaCrl: data.root_ca_crl,
    pckCrl: data.pck_crl,
    tcbInfoIssuerChain: data.tcb_info_issuer_chain,
    tcbInfo: data.tcb_info,
    tcbInfoSignature: data.tcb_info_signature,
    qeIdentityIssuerChain: data.qe_identity_issuer_chain,
    qeIdentity: data.qe_identity,
    qeIdentitySignature: data.qe_identity_signature,
    ...(data.pck_certificate_chain ? { pckCertificateChain: data.pck_certificate_chain } : {}),
  };
}
