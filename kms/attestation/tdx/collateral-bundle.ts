/**
 * Bundles: parts of collateral as one JSON file, to carry to a node without a network. Nothing in a bundle is trusted; it is
 * verified part by part, as if each came from the network.
 */
import { z } from "zod";
import { toHex, utf8 } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { MAX_COLLATERAL_CHARACTERS, parseCollateral } from "./collateral.ts";
import { MAX_CHAINS, MAX_PARTS } from "./collateral-index.ts";
import { type Item, itemDocument, itemKinds, itemSchema, nameOf, pckCaOfList } from "./collateral-items.ts";
import { parseJson } from "./json-text.ts";
import { MAX_PEM_CHARACTERS } from "./pem.ts";
import { parseTcbInfo } from "./tcb-info.ts";

/** Some hundred platforms of 25 KB each. */
export const MAX_BUNDLE_BYTES = 32 * 1024 * 1024;
const FORMAT = "keyward-collateral-bundle";

export interface Bundle {
  readonly items: readonly Item[];
  /** SHA-256 of the trust anchor's certificate in hex, where the file names one. */
  readonly anchor: string | undefined;
}

const bundleSchema = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(1),
  anchor: z.string().regex(/^[0-9a-f]{64}$/),
  items: z.array(itemSchema).max(MAX_PARTS + MAX_CHAINS),
});

/** The same parts give the same bytes: no time of making, and an order of its own. */
export function encodeBundle(items: readonly Item[], anchor: string): Uint8Array {
  const place = (item: Item) => `${itemKinds.indexOf(item.kind)} ${nameOf(item)}`;
  const ordered = items.toSorted((a, b) => (place(a) < place(b) ? -1 : 1)).map(itemDocument);
  return utf8(`${JSON.stringify({ format: FORMAT, version: 1, anchor, items: ordered }, undefined, 1)}\n`);
}

/** A bundle, or one platform's collateral in the form that other tools write. */
export function decodeBundle(text: string): Bundle {
  if (text.length > MAX_BUNDLE_BYTES) {
    throw new KmsError("malformed.collateral", `bundle: at most ${MAX_BUNDLE_BYTES} characters, have ${text.length}`);
  }
  const document = parseJson(text, "bundle");
  if (!isBundle(document)) return { items: itemsOfCollateral(text, document), anchor: undefined };
  const parsed = bundleSchema.safeParse(document);
  if (!parsed.success) throw new KmsError("malformed.collateral", `bundle: ${z.prettifyError(parsed.error)}`);
  const { items, anchor } = parsed.data;
  const names = new Set(items.map(nameOf));
  if (names.size !== items.length) throw new KmsError("malformed.collateral", "bundle: a part occurs twice");
  return { items, anchor };
}

function isBundle(document: unknown): boolean {
  return typeof document === "object" && document !== null && "format" in document;
}

/** The list's issuer chain is no member that a verification of quotes reads, but a list by itself is judged by it. */
const issuerChainSchema = z.object({ pck_crl_issuer_chain: z.string().max(MAX_PEM_CHARACTERS) });

function itemsOfCollateral(text: string, document: unknown): Item[] {
  if (text.length > MAX_COLLATERAL_CHARACTERS) throw new KmsError("malformed.collateral", "collateral: too long");
  const collateral = parseCollateral(text);
  const chain = issuerChainSchema.safeParse(document);
  if (!chain.success) throw new KmsError("malformed.collateral", "collateral: pck_crl_issuer_chain is missing");
  const { id, fmspc } = parseTcbInfo(collateral.tcbInfo);
  const tee = id === "TDX" ? "tdx" : "sgx";
  if (!/^[0-9a-fA-F]{12}$/.test(fmspc)) throw new KmsError("malformed.collateral", "collateral: Failed to decode TCB FMSPC");
  return [
    { kind: "root-crl", crl: collateral.rootCaCrl },
    { kind: "pck-crl", ca: pckCaOfList(collateral.pckCrl), crl: collateral.pckCrl, issuerChain: chain.data.pck_crl_issuer_chain },
    {
      kind: "tcb-info",
      tee,
      fmspc: fmspc.toLowerCase(),
      text: collateral.tcbInfo,
      signature: collateral.tcbInfoSignature,
      issuerChain: collateral.tcbInfoIssuerChain,
    },
    {
      kind: "qe-identity",
      tee,
      text: collateral.qeIdentity,
      signature: collateral.qeIdentitySignature,
      issuerChain: collateral.qeIdentityIssuerChain,
    },
  ];
}

/** What other tools read: one platform's collateral, with the texts exactly as they were signed. */
export function collateralDocument(
  items: readonly Item[],
  tee: "sgx" | "tdx",
  fmspc: string,
  ca: "platform" | "processor",
): string {
  const need = <Kind extends Item["kind"]>(kind: Kind, name: string): Extract<Item, { kind: Kind }> => {
    const found = items.find((item) => nameOf(item) === name);
    if (found?.kind !== kind) throw new KmsError("unavailable.collateral", `${name}: the folder has none that is good now`);
    return found as Extract<Item, { kind: Kind }>;
  };
  const root = need("root-crl", "root-crl");
  const pck = need("pck-crl", `pck-crl ${ca}`);
  const tcb = need("tcb-info", `tcb-info ${tee} ${fmspc}`);
  const qe = need("qe-identity", `qe-identity ${tee}`);
  const document = {
    pck_crl_issuer_chain: pck.issuerChain,
    root_ca_crl: toHex(root.crl),
    pck_crl: toHex(pck.crl),
    tcb_info_issuer_chain: tcb.issuerChain,
    tcb_info: tcb.text,
    tcb_info_signature: toHex(tcb.signature),
    qe_identity_issuer_chain: qe.issuerChain,
    qe_identity: qe.text,
    qe_identity_signature: toHex(qe.signature),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}
