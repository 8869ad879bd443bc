/** The parts of collateral, each signed by itself and kept by itself: names, what they say of their age, and one JSON document each. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { fromHex, toHex, utf8 } from "../../bytes.ts";
import { KmsError } from "../../errors.ts";
import { MAX_CRL_BYTES, parseCrl } from "./crl.ts";
import { parseJson } from "./json-text.ts";
import { isPckCertificate, type PckCa, parsePlatformIdentity, pckCaOf } from "./pck.ts";
import { MAX_PEM_CHARACTERS } from "./pem.ts";
import { parseQeIdentity } from "./qe-identity.ts";
import { MAX_SIGNED_JSON_CHARACTERS } from "./signed-json.ts";
import { parseTcbInfo } from "./tcb-info.ts";
import { parseChain } from "./x509-path.ts";

export type Tee = "sgx" | "tdx";

/** What can be asked for. FMSPC and machine are lower-case hex; the machine is a digest of what a request for its chain names. */
export type ItemKey =
  | { readonly kind: "root-crl" }
  | { readonly kind: "pck-crl"; readonly ca: PckCa }
  | { readonly kind: "tcb-info"; readonly tee: Tee; readonly fmspc: string }
  | { readonly kind: "qe-identity"; readonly tee: Tee }
  | { readonly kind: "pck-chain"; readonly machine: string };

interface SignedText {
  /** The exact JSON text that was signed. */
  readonly text: string;
  /** Raw r‖s. */
  readonly signature: Uint8Array;
  /** PEM, leaf first. */
  readonly issuerChain: string;
}

export type RootCrlItem = Extract<ItemKey, { kind: "root-crl" }> & { readonly crl: Uint8Array };
export type PckCrlItem = Extract<ItemKey, { kind: "pck-crl" }> & { readonly crl: Uint8Array; readonly issuerChain: string };
export type TcbInfoItem = Extract<ItemKey, { kind: "tcb-info" }> & SignedText;
export type QeIdentityItem = Extract<ItemKey, { kind: "qe-identity" }> & SignedText;
export type PckChainItem = Extract<ItemKey, { kind: "pck-chain" }> & { readonly chain: string };
export type Item = RootCrlItem | PckCrlItem | TcbInfoItem | QeIdentityItem | PckChainItem;
export type ItemKind = Item["kind"];

export const itemKinds: readonly ItemKind[] = ["root-crl", "pck-crl", "tcb-info", "qe-identity", "pck-chain"];

export function nameOf(key: ItemKey): string {
  switch (key.kind) {
    case "root-crl":
      return key.kind;
    case "pck-crl":
      return `${key.kind} ${key.ca}`;
    case "tcb-info":
      return `${key.kind} ${key.tee} ${key.fmspc}`;
    case "qe-identity":
      return `${key.kind} ${key.tee}`;
    case "pck-chain":
      return `${key.kind} ${key.machine}`;
  }
}

/** How new a part is: neither its number nor its date may go back. */
export interface Rank {
  /** tcbEvaluationDataNumber or CRL number, in decimal; a CRL number may have 20 bytes. */
  readonly number: string;
  /** issueDate or thisUpdate, whole seconds since 1970. */
  readonly issued: number;
}

export interface Facts {
  readonly name: string;
  /** Undefined for what is not issued in a series: a machine's chain. */
  readonly rank: Rank | undefined;
  /** Under which the rank is remembered: TCB info by platform and TEE, a QE identity by TEE, a list by its issuer. */
  readonly floor: string;
  /** The last second at which it is good: nextUpdate itself for Intel's JSON, the one before it for a list. */
  readonly lastSecond: number;
  /** Of a machine's chain: the machine, which has other names with every encryption of this. */
  readonly ppid?: string;
}

/** What an item says about itself; nothing is verified here, but that it is what its name says. */
export function factsOf(item: Item): Facts {
  const name = nameOf(item);
  switch (item.kind) {
    case "root-crl":
      return { name, ...crlFacts(item.crl, "root_ca_crl") };
    case "pck-crl":
      return { name, ...crlFacts(item.crl, "pck_crl") };
    case "tcb-info":
      return { name, floor: name, ...jsonFacts(tcbInfoOf(item)) };
    case "qe-identity":
      return { name, floor: name, ...jsonFacts(qeIdentityOf(item)) };
    case "pck-chain":
      return { name, floor: name, rank: undefined, ...chainFacts(item.chain) };
  }
}

function crlFacts(der: Uint8Array, what: string): Omit<Facts, "name"> {
  const { issuer, number, thisUpdate, nextUpdate } = parseCrl(der, what);
  const decimal = number === undefined || number === "" ? "0" : BigInt(`0x${number}`).toString();
  return {
    floor: `crl ${createHash("sha256").update(issuer).digest("hex")}`,
    rank: { number: decimal, issued: thisUpdate },
    lastSecond: nextUpdate - 1,
  };
}

/** A leaf that is no machine's is for the verification to refuse. */
function chainFacts(pem: string): Pick<Facts, "lastSecond" | "ppid"> {
  const chain = parseChain(pem);
  const [leaf] = chain;
  const lastSecond = Math.min(...chain.map(({ notAfter }) => notAfter));
  return isPckCertificate(leaf) ? { lastSecond, ppid: toHex(parsePlatformIdentity(leaf).ppid) } : { lastSecond };
}

interface Dated {
  readonly tcbEvaluationDataNumber: number;
  readonly issueDate: number;
  readonly nextUpdate: number;
}

function jsonFacts({ tcbEvaluationDataNumber, issueDate, nextUpdate }: Dated): Pick<Facts, "rank" | "lastSecond"> {
  return { rank: { number: `${tcbEvaluationDataNumber}`, issued: issueDate }, lastSecond: nextUpdate };
}

function tcbInfoOf({ text, tee, fmspc }: TcbInfoItem) {
  const info = parseTcbInfo(text);
  const is = `${info.id.toLowerCase()} ${info.fmspc.toLowerCase()}`;
  if (is === `${tee} ${fmspc}`) return info;
  throw new KmsError("unproven.platform", `TCB info of another platform: need ${tee} ${fmspc}, have ${is.slice(0, 32)}`);
}

function qeIdentityOf({ text, tee }: QeIdentityItem) {
  const identity = parseQeIdentity(text);
  if (identity.id === (tee === "tdx" ? "TD_QE" : "QE")) return identity;
  throw new KmsError("unproven.qe-identity", `QE identity of another TEE: need ${tee}, have ${identity.id.slice(0, 16)}`);
}

/** A root list may not pass as a PCK list, nor one CA's as the other's. */
export function pckCaOfList(crl: Uint8Array): PckCa {
  return pckCaOf(parseCrl(crl, "pck_crl"));
}

export function isOlder(rank: Rank, floor: Rank): boolean {
  return BigInt(rank.number) < BigInt(floor.number) || rank.issued < floor.issued;
}

/** Of two ranks the higher in each of the two. */
export function higher(a: Rank, b: Rank): Rank {
  return {
    number: BigInt(a.number) > BigInt(b.number) ? a.number : b.number,
    issued: Math.max(a.issued, b.issued),
  };
}

const hexOf = (bytes: number) =>
  z
    .string()
    .max(bytes * 2)
    .regex(/^(?:[0-9a-f]{2})+$/, "need lower-case hex")
    .transform((text) => fromHex(text, "item"));
const exactHex = (bytes: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`), `need ${bytes} bytes in lower-case hex`);
const tee = z.enum(["sgx", "tdx"]);
const pemText = z.string().max(MAX_PEM_CHARACTERS);
const signedText = {
  text: z.string().max(MAX_SIGNED_JSON_CHARACTERS),
  signature: hexOf(64).refine((bytes) => bytes.length === 64, "need 64 bytes"),
  issuerChain: pemText,
};
const crl = hexOf(MAX_CRL_BYTES);

export const itemSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("root-crl"), crl }),
  z.strictObject({ kind: z.literal("pck-crl"), ca: z.enum(["platform", "processor"]), crl, issuerChain: pemText }),
  z.strictObject({ kind: z.literal("tcb-info"), tee, fmspc: exactHex(6), ...signedText }),
  z.strictObject({ kind: z.literal("qe-identity"), tee, ...signedText }),
  z.strictObject({ kind: z.literal("pck-chain"), machine: exactHex(32), chain: pemText }),
]);

/** Members in the order of the schema, bytes in hex: one spelling of an item, so that equal items have equal digests. */
export function itemDocument(item: Item): object {
  return Object.fromEntries(
    orderedMembers.flatMap((name) => {
      const value = (item as unknown as Readonly<Record<string, string | Uint8Array | undefined>>)[name];
      if (value === undefined) return [];
      return [[name, typeof value === "string" ? value : toHex(value)]];
    }),
  );
}

const orderedMembers = ["kind", "tee", "ca", "fmspc", "machine", "crl", "text", "signature", "issuerChain", "chain"] as const;

export function encodeItem(item: Item): Uint8Array {
  return utf8(`${JSON.stringify(itemDocument(item))}\n`);
}

export function decodeItem(text: string, what: string): Item {
  const parsed = itemSchema.safeParse(parseJson(text, what));
  if (parsed.success) return parsed.data;
  throw new KmsError("malformed.collateral", `${what}: ${z.prettifyError(parsed.error)}`);
}

/** The name of its file: content that was changed has another name. */
export function digestOf(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
