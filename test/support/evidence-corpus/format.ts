/** The corpus as data: bases of named parts, and cases that change some bytes of them. Nothing here knows the verifier. */
import { readFileSync } from "node:fs";

/** Every input of one verification, as bytes; texts are UTF-8. The README of the corpus says what each is. */
export const partNames = [
  "quote",
  "attestation",
  "event_log",
  "vm_config",
  "report_data",
  "root",
  "time",
  "root_ca_crl",
  "pck_crl",
  "tcb_info_issuer_chain",
  "tcb_info",
  "tcb_info_signature",
  "qe_identity_issuer_chain",
  "qe_identity",
  "qe_identity_signature",
  "pck_certificate_chain",
] as const;

export type PartName = (typeof partNames)[number];

/** A part that a base does not have is absent. */
export type Parts = Partial<Record<PartName, Uint8Array>>;

/** Where a base finds a part: in a file, there in a member of a JSON object, and in what form; or as text in place. */
export type PartSource =
  | { readonly text: string; readonly form?: "hex" }
  | { readonly file: string; readonly member?: string; readonly form?: "bytes" | "hex" | "numbers" };

export interface Base {
  readonly about: string;
  readonly parts: Readonly<Partial<Record<PartName, PartSource>>>;
}

/** At `at`, counted in the base's bytes, `remove` bytes give way to `insert` (base64), `times` times when that is given. */
export interface Splice {
  readonly part: PartName;
  readonly at: number;
  readonly remove: number;
  readonly insert: string;
  readonly times?: number;
}

/** The whole part of another base, or none at all. */
export interface Swap {
  readonly part: PartName;
  readonly from: string | null;
}

export type Change = Splice | Swap;

export type Expected =
  | { readonly code: string }
  | {
      readonly status: string;
      readonly advisoryIds: readonly string[];
      /** Members of the BootInfo that must come out, where the case carries a whole attestation. */
      readonly bootInfo?: Readonly<Record<string, string>>;
    };

/** The number of the public step list of a DCAP verification, or one of the checks on a guest that come after it. */
export type Check = number | "0a" | "envelope" | "td" | "registers" | "report-data" | "preimage" | "events" | "boot-info";

export interface Case {
  /** A sentence, unique in the corpus. */
  readonly name: string;
  readonly check: Check;
  readonly base: string;
  readonly changes: readonly Change[];
  readonly expect: Expected;
  /** Why the outcome differs from that of the reference implementation, where it does. */
  readonly stricter?: string;
}

export interface Manifest {
  readonly format: 1;
  readonly bases: Readonly<Record<string, Base>>;
  readonly cases: readonly Case[];
}

/** Reads a file that a base names, relative to the corpus. */
export type ReadFile = (file: string) => Uint8Array;

export const corpusFolder = new URL("../../fixtures/evidence/", import.meta.url);

export const readCorpusFile: ReadFile = (file) => new Uint8Array(readFileSync(new URL(file, corpusFolder)));

export function readManifest(): Manifest {
  return JSON.parse(text(readCorpusFile("manifest.json")));
}

export function text(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

export function bytesOf(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

export function partsOf({ parts }: Base, read: ReadFile): Parts {
  const found: Parts = {};
  for (const name of partNames) {
    const source = parts[name];
    if (source !== undefined) found[name] = partOf(source, read);
  }
  return found;
}

function partOf(source: PartSource, read: ReadFile): Uint8Array {
  if ("text" in source) return source.form === "hex" ? fromHexText(source.text) : bytesOf(source.text);
  const { file, member, form = "bytes" } = source;
  const whole = read(file);
  const value: unknown = member === undefined ? undefined : JSON.parse(text(whole))[member];
  const content = value === undefined ? whole : bytesOf(typeof value === "string" ? value : JSON.stringify(value));
  if (form === "hex") return fromHexText(text(content));
  return form === "numbers" ? Uint8Array.from(JSON.parse(text(content))) : content;
}

function fromHexText(digits: string): Uint8Array {
  return new Uint8Array(Buffer.from(digits.trim().replace(/^0x/, ""), "hex"));
}

/** The parts of a case: swaps first, then splices, each at the place it names in the bytes before any splice. */
export function changedParts(base: Parts, changes: readonly Change[], other: (name: string) => Parts): Parts {
  const parts = { ...base };
  for (const change of changes) {
    if (!("from" in change)) continue;
    const taken = change.from === null ? undefined : other(change.from)[change.part];
    if (taken === undefined) delete parts[change.part];
    else parts[change.part] = taken;
  }
  for (const change of changes.toReversed()) {
    if ("from" in change) continue;
    const before = parts[change.part] ?? new Uint8Array();
    const { at, remove, times = 1 } = change;
    const once = Buffer.from(change.insert, "base64");
    const insert = Buffer.alloc(once.length * times, once);
    const pieces = [before.subarray(0, at), insert, before.subarray(at + remove)];
    parts[change.part] = new Uint8Array(Buffer.concat(pieces));
  }
  return parts;
}
