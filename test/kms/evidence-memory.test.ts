/** What a verifier remembers changes no outcome: every case of the corpus again, by one that has just accepted the case's base. */
import { describe, expect, test } from "vitest";
import { decodeEvidence } from "../../kms/attestation/evidence.ts";
import { type Collateral, parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { OpenedCollateral } from "../../kms/attestation/tdx/opened-collateral.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { asKmsError } from "../../kms/errors.ts";
import {
  type Case,
  changedParts,
  type PartName,
  type Parts,
  partsOf,
  readCorpusFile,
  readManifest,
  text,
} from "../support/evidence-corpus/format.ts";
import { collateralText } from "../support/evidence-corpus/judge.ts";

const { bases, cases } = readManifest();
const nothing = new Uint8Array();

interface Opened {
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

function baseOf(name: string): Opened {
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
function collateralOf(entry: Case, base: Opened, parts: Parts): Collateral {
  const changed = new Set(entry.changes.map(({ part }) => part));
  const fresh = parseCollateral(collateralText(parts));
  const own = Object.entries(members).filter(([part]) => changed.has(part as PartName));
  return { ...base.collateral, ...Object.fromEntries(own.map(([, member]) => [member, fresh[member]])) };
}

function verify(parts: Parts, collateral: Collateral, anchor: Opened["anchor"], memory?: OpenedCollateral): string {
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

/** Outcomes without memory and with one, of the case and of the base after it. */
function outcomes(entry: Case): { readonly alone: readonly string[]; readonly remembering: readonly string[] } | undefined {
  const base = baseOf(entry.base);
  const parts = changedParts(base.parts, entry.changes, (name) => baseOf(name).parts);
  let collateral: Collateral;
  let anchor = base.anchor;
  try {
    collateral = collateralOf(entry, base, parts);
    if (entry.changes.some(({ part }) => part === "root")) anchor = loadTrustAnchor(parts.root ?? nothing);
  } catch {
    return undefined; // nothing that a verifier could be asked about
  }
  const memory = new OpenedCollateral();
  const run = (with_?: OpenedCollateral) => [
    verify(base.parts, base.collateral, base.anchor, with_),
    verify(parts, collateral, anchor, with_),
    verify(base.parts, base.collateral, base.anchor, with_),
  ];
  return { alone: run(), remembering: run(memory) };
}

/** The dates of these checks decide when what is remembered ends. */
const dated = new Set<unknown>([0, "0a", 7, 8, 9, 11, 14]);
const seconds = [0, 1, 3_600, 31 * 86_400, 0, -1];

describe("a verifier that remembers good collateral", () => {
  const good = cases.filter(({ check, expect: outcome }) => dated.has(check) && "status" in outcome);

  test.each([...dated])("sees as early as any other when a date of check %s is over, and that a clock was set back", (check) => {
    for (const entry of good.filter((one) => one.check === check)) {
      const base = baseOf(entry.base);
      const parts = changedParts(base.parts, entry.changes, (name) => baseOf(name).parts);
      const collateral = collateralOf(entry, base, parts);
      const anchor = loadTrustAnchor(parts.root ?? nothing);
      const memory = new OpenedCollateral();
      for (const offset of seconds) {
        const time = new TextEncoder().encode(new Date(Date.parse(text(parts.time ?? nothing)) + offset * 1000).toISOString());
        const alone = verify({ ...parts, time }, collateral, anchor);
        expect(verify({ ...parts, time }, collateral, anchor, memory), `${entry.name}, ${offset} s later`).toBe(alone);
      }
    }
  });
});

describe("a verifier that has just verified the base", () => {
  for (const [check, group = []] of Object.entries(Object.groupBy(cases, (entry) => String(entry.check)))) {
    test(`decides every case of check ${check} as one that remembers nothing`, () => {
      for (const entry of group) {
        const found = outcomes(entry);
        if (found !== undefined) expect(found.remembering, entry.name).toEqual(found.alone);
      }
    });
  }
});
