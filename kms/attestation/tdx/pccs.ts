/** The requests of a PCCS (Intel's certification API, version 4) and what its answers contain; no network here. */
import { fromHex, fromUtf8, toHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { cutMembers } from "./json-text.ts";
import type { PckCa } from "./pck.ts";
import { parseChain } from "./x509-path.ts";

export const DEFAULT_PCCS_URL = "https://pccs.phala.network";
/** Intel's own service serves no hex root list. */
const INTEL_PCS_URL = "https://api.trustedservices.intel.com";
const API_PATH = /(?:\/|\/(?:sgx|tdx)\/certification\/v4)$/;

/** What collateral depends on. */
export interface CollateralKey {
  readonly tee: "sgx" | "tdx";
  readonly fmspc: Uint8Array;
  readonly ca: PckCa;
}

export interface CollateralUrls {
  readonly pckCrl: string;
  readonly tcbInfo: string;
  readonly qeIdentity: string;
  /** Undefined where only the distribution point has the root list. */
  readonly rootCaCrl: string | undefined;
}

export interface SignedMember {
  readonly text: string;
  readonly signature: Uint8Array;
}

/** The base of a configured URL: both URL styles lead to the same service, and blank means the default. */
export function pccsBase(configured: string): string {
  let base = configured.trim() || DEFAULT_PCCS_URL;
  while (API_PATH.test(base)) base = base.replace(API_PATH, "");
  const url = URL.canParse(base) ? new URL(base) : undefined;
  const plain = url && (url.protocol === "https:" || url.protocol === "http:") && !url.search && !url.hash && !url.username;
  if (!plain) throw new KmsError("malformed.config", "pccs url: need http or https without credentials, query and fragment");
  return base;
}

export function collateralUrls(base: string, { tee, fmspc, ca }: CollateralKey): CollateralUrls {
  const sgx = `${base}/sgx/certification/v4`;
  const own = `${base}/${tee}/certification/v4`;
  return {
    pckCrl: `${sgx}/pckcrl?ca=${ca}&encoding=der`,
    tcbInfo: `${own}/tcb?fmspc=${toHex(fmspc).toUpperCase()}`,
    qeIdentity: `${own}/qe/identity?update=standard`,
    rootCaCrl: base.startsWith(INTEL_PCS_URL) ? undefined : `${sgx}/rootcacrl`,
  };
}

/** The signed object is cut out of the answer as it stands there: a re-encoding is not what Intel signed. */
export function readSigned(body: Uint8Array, member: "tcbInfo" | "enclaveIdentity"): SignedMember {
  const members = cutMembers(fromUtf8(body, member, "malformed.collateral"), member);
  const text = members.get(member);
  const signature = /^"([0-9a-fA-F]{128})"$/.exec(members.get("signature") ?? "")?.[1];
  if (text === undefined || signature === undefined) {
    throw new KmsError("malformed.collateral", `${member}: need an object and a signature of 64 bytes in hex`);
  }
  return { text, signature: fromHex(signature, `${member}.signature`, 64, "malformed.collateral") };
}

/** An issuer chain header: percent-encoded PEM, leaf first. */
export function readChainHeader(headers: Headers, ...names: readonly string[]): string {
  const value = names.map((name) => headers.get(name)).find((found) => found !== null);
  if (value === undefined || value === null) throw new KmsError("malformed.collateral", `${names[0]}: header is missing`);
  try {
    return decodeURIComponent(value);
  } catch (cause) {
    throw new KmsError("malformed.collateral", `${names[0]}: not percent-encoded`, { cause });
  }
}

/** A root list as a PCCS serves it: hex text and nothing around it. */
export function readHexList(body: Uint8Array): Uint8Array {
  return fromHex(fromUtf8(body, "root_ca_crl", "malformed.collateral"), "root_ca_crl", undefined, "malformed.collateral");
}

/** Where the last certificate of a chain, the root, says its list is. */
export function rootListUrl(chain: string): string {
  const uri = parseChain(chain).at(-1)?.crlUris?.[0];
  const url = uri !== undefined && URL.canParse(uri) ? new URL(uri) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:") {
    throw new KmsError("malformed.collateral", "qe identity issuer chain: no usable distribution point");
  }
  return url.href;
}
