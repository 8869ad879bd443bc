/** The requests of a PCCS (Intel's certification API, version 4) and what its answers contain; no network here. */
import { fromHex, fromUtf8, toHex } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import type { ItemKey, Tee } from "./collateral-items.ts";
import { cutMembers } from "./json-text.ts";

export const DEFAULT_PCCS_URL = "https://pccs.phala.network";
/** Intel's own service serves no hex root list. */
const INTEL_PCS_URL = "https://api.trustedservices.intel.com";
const API_PATH = /(?:\/|\/(?:sgx|tdx)\/certification\/v4)$/;

/** What a quote says of a machine for which the PCCS has the chain: bytes as in the quote. */
export interface PckRequest {
  readonly qeId: Uint8Array;
  readonly encryptedPpid: Uint8Array;
  readonly cpuSvn: Uint8Array;
  /** Two bytes, little endian. */
  readonly pceSvn: Uint8Array;
  readonly pceId: Uint8Array;
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

export function isIntelPcs(base: string): boolean {
  return base === INTEL_PCS_URL || base.startsWith(`${INTEL_PCS_URL}/`);
}

export function itemUrl(base: string, key: Exclude<ItemKey, { kind: "pck-chain" }>): string {
  const api = (tee: Tee) => `${base}/${tee}/certification/v4`;
  switch (key.kind) {
    case "root-crl":
      return `${api("sgx")}/rootcacrl`;
    case "pck-crl":
      return `${api("sgx")}/pckcrl?ca=${key.ca}&encoding=der`;
    case "tcb-info":
      return `${api(key.tee)}/tcb?fmspc=${key.fmspc.toUpperCase()}`;
    case "qe-identity":
      return `${api(key.tee)}/qe/identity?update=standard`;
  }
}

export function pckChainUrl(base: string, { qeId, encryptedPpid, cpuSvn, pceSvn, pceId }: PckRequest): string {
  const named = { qeid: qeId, encrypted_ppid: encryptedPpid, cpusvn: cpuSvn, pcesvn: pceSvn, pceid: pceId };
  const query = Object.entries(named).map(([name, bytes]) => `${name}=${toHex(bytes).toUpperCase()}`);
  return `${base}/sgx/certification/v4/pckcert?${query.join("&")}`;
}

/** What identifies a machine whose quote carries no chain: everything that a request for it names. */
export function pckRequestName({ qeId, encryptedPpid, cpuSvn, pceSvn, pceId }: PckRequest): string {
  return [qeId, encryptedPpid, cpuSvn, pceSvn, pceId].map(toHex).join(" ");
}

/** CPUSVN and PCESVN that the certificate is for. A PCCS may answer with that of a lower state, whose key signed nothing here. */
export function requireSameTcb(headers: Headers, { cpuSvn, pceSvn }: PckRequest): void {
  const tcbm = headers.get("SGX-TCBm");
  if (tcbm === null || tcbm.toLowerCase() === `${toHex(cpuSvn)}${toHex(pceSvn)}`) return;
  throw new KmsError("unproven.platform", "SGX-TCBm mismatch: the PCCS has the certificate of another state of this machine");
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
