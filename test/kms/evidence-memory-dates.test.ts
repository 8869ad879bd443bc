/** What a verifier remembers ends when its dates do: every dated case of the corpus as time goes on, and back. */
import { describe, expect, test } from "vitest";
import { OpenedCollateral } from "../../kms/attestation/tdx/opened-collateral.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { changedParts, readManifest, text } from "../support/evidence-corpus/format.ts";
import { baseOf, collateralOf, nothing, verify } from "../support/evidence-corpus/remembering.ts";

const { cases } = readManifest();

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
