/** The whole corpus from its sources: the same bytes on every machine. */
import { toHex } from "../../../kms/bytes.ts";
import { attributeCases } from "./attribute-cases.ts";
import { chainCases } from "./chain-cases.ts";
import { crlCases } from "./crl-cases.ts";
import type { Draft } from "./draft.ts";
import {
  type Base,
  bytesOf,
  type Case,
  type Change,
  type Manifest,
  type Parts,
  partNames,
  partsOf,
  type ReadFile,
  readCorpusFile,
} from "./format.ts";
import { type GuestDraft, guestCases } from "./guest-cases.ts";
import { guestShapeCases } from "./guest-shape-cases.ts";
import { buildGuest, freshGuest } from "./guests.ts";
import { headerCases } from "./header-cases.ts";
import { jsonCases } from "./json-cases.ts";
import { collateralText } from "./judge.ts";
import { levelCases } from "./level-cases.ts";
import { quoteCases } from "./quote-cases.ts";
import { collateralSources, realBases, realCases } from "./real-cases.ts";
import { splicesBetween } from "./splices.ts";
import { build, type World } from "./world.ts";
import { freshWorld } from "./worlds.ts";

export interface Corpus {
  readonly manifest: Manifest;
  /** Files of the simulated bases, by their name in the corpus. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

const kinds = ["v4", "v5", "v5-td10", "sgx"] as const;
const guestVersions = { "guest-v0": 1, "guest-v1": 2 } as const;
const about: Readonly<Record<string, string>> = {
  v4: "a simulated TDX quote of version 4",
  v5: "a simulated TDX quote of version 5 with a TD report 1.5",
  "v5-td10": "a simulated TDX quote of version 5 with a TD report 1.0",
  sgx: "a simulated SGX quote of version 3",
  "guest-v0": "a simulated guest's V0 envelope, with version 1 events",
  "guest-v1": "a simulated guest's V1 envelope, with version 2 events",
};

function isKind(name: string): name is World["kind"] {
  return kinds.some((kind) => kind === name);
}

function isGuest(name: string): name is keyof typeof guestVersions {
  return Object.hasOwn(guestVersions, name);
}

export function generateCorpus(): Corpus {
  const files: Record<string, Uint8Array> = {};
  const bases: Record<string, Base> = {};
  for (const kind of kinds) bases[kind] = simulatedBase(kind, build(freshWorld(kind)), files);
  for (const [name, version] of Object.entries(guestVersions))
    bases[name] = simulatedBase(name, buildGuest(freshGuest(version)), files);
  Object.assign(bases, realBases);
  const read: ReadFile = (file) => files[file] ?? readCorpusFile(file);
  const known = new Map(Object.entries(bases).map(([name, base]) => [name, partsOf(base, read)]));
  const drafts: readonly (Draft & GuestDraft)[] = [
    ...[...headerCases, ...jsonCases, ...chainCases, ...crlCases, ...quoteCases, ...levelCases, ...attributeCases, ...realCases],
    ...guestCases,
    ...guestShapeCases,
  ];
  const cases = drafts.map((draft) => caseOf(draft, known.get(draft.base) ?? {}));
  return { manifest: { format: 1, bases, cases }, files };
}

/** Texts that all simulated bases share are stored once. */
function simulatedBase(name: string, parts: Parts, files: Record<string, Uint8Array>): Base {
  const store = (file: string, bytes: Uint8Array): { readonly file: string } => {
    files[file] = bytes;
    return { file };
  };
  const collateral = name === "sgx" ? "sgx-collateral.json" : "tdx-collateral.json";
  store(collateral, bytesOf(`${collateralText(parts)}\n`));
  const evidence =
    parts.attestation === undefined
      ? { quote: store(`${name}-quote.bin`, parts.quote ?? new Uint8Array()) }
      : {
          attestation: store(`${name}-attestation.bin`, parts.attestation),
          report_data: { text: toHex(parts.report_data ?? new Uint8Array()), form: "hex" as const },
        };
  const time = { text: new TextDecoder().decode(parts.time) };
  const root = store("root.der", parts.root ?? new Uint8Array());
  return { about: about[name] ?? "", parts: { ...evidence, ...collateralSources(collateral), root, time } };
}

function caseOf(draft: Draft & GuestDraft, base: Parts): Case {
  const { name, check, expect, stricter } = draft;
  const changes = draft.changes?.(base) ?? changesOf(draft, base);
  return { name, check, base: draft.base, changes, expect, ...(stricter === undefined ? {} : { stricter }) };
}

function changesOf(draft: Draft & GuestDraft, base: Parts): Change[] {
  const made = draft.edit || draft.guest ? signedAnew(draft) : base;
  const wanted = draft.alter?.(made) ?? made;
  return partNames.flatMap((part): readonly Change[] => {
    const [before, after] = [base[part], wanted[part]];
    if (after === undefined) return before === undefined ? [] : [{ part, from: null }];
    return splicesBetween(part, before ?? new Uint8Array(), after);
  });
}

function signedAnew({ base, edit, guest }: Draft & GuestDraft): Parts {
  if (isKind(base)) {
    const world = freshWorld(base);
    edit?.(world);
    return build(world);
  }
  if (!isGuest(base)) throw new Error(`${base} cannot be signed anew`);
  const made = freshGuest(guestVersions[base]);
  guest?.(made);
  return buildGuest(made);
}

/** One case a line: a change of one case is a change of one line. */
export function manifestText({ format, bases, cases }: Manifest): string {
  const lines = (values: readonly string[]) => values.map((value) => `  ${value}`).join(",\n");
  const named = Object.entries(bases).map(([name, base]) => `${JSON.stringify(name)}: ${JSON.stringify(base)}`);
  const all = cases.map((one) => JSON.stringify(one));
  return `{\n"format": ${format},\n"bases": {\n${lines(named)}\n},\n"cases": [\n${lines(all)}\n]\n}\n`;
}
