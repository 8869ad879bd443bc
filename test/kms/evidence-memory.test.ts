/** What a verifier remembers changes no outcome: every case of the corpus again, by one that has just accepted the case's base. */
import { describe, expect, test } from "vitest";
import type { Collateral } from "../../kms/attestation/tdx/collateral.ts";
import { OpenedCollateral } from "../../kms/attestation/tdx/opened-collateral.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { type Case, changedParts, readManifest } from "../support/evidence-corpus/format.ts";
import { baseOf, collateralOf, nothing, verify } from "../support/evidence-corpus/remembering.ts";

const { cases } = readManifest();

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
