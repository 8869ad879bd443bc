/** Verifying with remembered collateral gives the answer of verifying from scratch, for every time and anchor. */
import { describe, expect, test } from "vitest";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { OpenedCollateral } from "../../kms/attestation/tdx/opened-collateral.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { KmsError } from "../../kms/errors.ts";
import { collateralJson, createPlatform } from "../../scripts/devnet/platform.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";

const day = 86_400;
const otherAnchor = loadTrustAnchor(createPlatform(new Uint8Array(32).fill(9), {}).rootDer);
const start = new Date("2026-06-15T00:00:00Z");
const platform = simulatedPlatform();
const anchor = loadTrustAnchor(platform.rootDer);
const collateral = parseCollateral(collateralJson(platform.collateral(start)));
const quote = parseQuote(simulatedTd({ platform }).quote(new Uint8Array(64)));

interface Try {
  readonly seconds?: number;
  readonly anchor?: typeof anchor;
  readonly collateral?: typeof collateral;
}

function outcome(attempt: Try, memory?: OpenedCollateral): unknown {
  const now = new Date(start.getTime() + (attempt.seconds ?? 0) * 1000);
  try {
    return verifyQuote({ quote, collateral, anchor, ...attempt, now }, memory);
  } catch (thrown) {
    if (thrown instanceof KmsError) return { code: thrown.code, message: thrown.message };
    throw thrown;
  }
}

describe("a second verification answers as a first would", () => {
  const { endsAt } = verifyQuote({ quote, collateral, anchor, now: start });
  const end = endsAt - start.getTime() / 1000;
  const tampered = { ...collateral, qeIdentitySignature: new Uint8Array(64) };
  const copied = { ...collateral };

  test.each<[string, Try[]]>([
    ["at the same time and later", [{}, {}, { seconds: 3_600 }]],
    [
      "up to the end, at it and after it",
      [{}, { seconds: end - 1 }, { seconds: end }, { seconds: end + 1 }, { seconds: end + 30 * day }],
    ],
    [
      "when the clock is set back, also before the beginning",
      [{ seconds: 60 }, {}, { seconds: -60 }, { seconds: -400 * day }, {}],
    ],
    ["under another anchor, and back", [{}, { anchor: otherAnchor }, {}]],
    ["with other collateral, and back", [{}, { collateral: tampered }, { collateral: copied }, {}]],
    ["after a refusal", [{ collateral: tampered }, { collateral: tampered }, { seconds: -400 * day }, {}]],
  ])("%s", (_name, attempts) => {
    const memory = new OpenedCollateral();
    for (const attempt of attempts) expect(outcome(attempt, memory)).toEqual(outcome(attempt));
  });
});

describe("collateral is opened once", () => {
  const memory = new OpenedCollateral();
  const recalls = (change: Partial<typeof collateral>, other = anchor) => {
    outcome({}, memory);
    return memory.recall({ ...collateral, ...change }, other, start) !== undefined;
  };

  test("for all machines, each with its own chain", () => {
    expect([recalls({}), recalls({ pckCertificateChain: "of another machine" })]).toEqual([true, true]);
  });

  test.each(Object.keys(collateral))("and again when %s is another one", (member) => {
    const value = new Map<string, unknown>(Object.entries(collateral)).get(member);
    const other = value instanceof Uint8Array ? value.slice() : `${value} `;
    expect(recalls({ [member]: other })).toBe(false);
  });

  test("for each platform, though they share all but the TCB info", () => {
    const second = { ...collateral, tcbInfoSignature: collateral.tcbInfoSignature.slice() };
    for (const each of [collateral, second, collateral]) outcome({ collateral: each }, memory);
    expect([collateral, second].map((each) => memory.recall(each, anchor, start) !== undefined)).toEqual([true, true]);
  });

  test("and again for another anchor", () => {
    expect(recalls({}, loadTrustAnchor(platform.rootDer))).toBe(false);
  });
});
