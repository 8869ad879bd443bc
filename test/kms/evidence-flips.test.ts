/** Every bit of both revocation lists, and a bit of every byte that a signature covers: none can be turned unnoticed. */
import { describe, expect, test } from "vitest";
import type { Collateral } from "../../kms/attestation/tdx/collateral.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { RevocationLists } from "../../kms/attestation/tdx/revocation.ts";
import { intelSgxRootCa } from "../../kms/attestation/tdx/trust-anchor.ts";
import { pckChainOf, verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { parseChain } from "../../kms/attestation/tdx/x509-path.ts";
import { asKmsError } from "../../kms/errors.ts";
import { readCollateral, readQuote } from "../support/tdx-samples.ts";

const quote = readQuote("tdx-v4-b0c06f-a.bin");
const collateral = readCollateral("collateral-b0c06f-2025-06.json");
const inputs = { anchor: intelSgxRootCa, now: new Date("2025-07-01T00:00:00Z") };

function outcome(bytes: Uint8Array, changes: Partial<Collateral>): string {
  return outcomeOf(() => verifyQuote({ quote: parseQuote(bytes), collateral: { ...collateral, ...changes }, ...inputs }).status);
}

/** The code of the refusal, or the status. */
function outcomeOf(verify: () => string): string {
  try {
    return verify();
  } catch (thrown) {
    return asKmsError(thrown).code;
  }
}

function flipped(bytes: Uint8Array, at: number, bit: number): Uint8Array {
  return bytes.with(at, (bytes[at] ?? 0) ^ (1 << bit));
}

/** Outcomes of all flips, each once. Whatever comes out has to be a refusal with a code of its own. */
function outcomes(bytes: Uint8Array, bits: "every bit" | "one bit", run: (changed: Uint8Array) => string): string[] {
  const found = new Set<string>();
  for (let at = 0; at < bytes.length; at += 1) {
    const chosen = bits === "one bit" ? [at % 7] : [0, 1, 2, 3, 4, 5, 6, 7];
    for (const bit of chosen) found.add(run(flipped(bytes, at, bit)));
  }
  return [...found].toSorted();
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
const signed = (change: (value: string) => Partial<Collateral>) => (bytes: Uint8Array) => outcome(quote, change(text(bytes)));

describe("no bit can be turned unnoticed", () => {
  test("in the revocation list of the root", () => {
    const found = outcomes(collateral.rootCaCrl, "every bit", (rootCaCrl) => outcome(quote, { rootCaCrl }));
    expect(found).toEqual(["malformed.collateral", "unproven.crl"]);
  });

  test("in the revocation list of the PCK CA", () => {
    const [leaf, issuer] = parseChain(pckChainOf(parseQuote(quote)));
    if (issuer === undefined) throw new Error("the sample has a PCK CA");
    const at = inputs.now.getTime() / 1000;
    const found = outcomes(collateral.pckCrl, "every bit", (pckCrl) =>
      outcomeOf(() => {
        new RevocationLists({ ...collateral, pckCrl, anchor: intelSgxRootCa, at }).requireUnrevoked(leaf, issuer);
        return "accepted";
      }),
    );
    expect(found).toEqual(["malformed.collateral", "unproven.crl"]);
  });

  test("in the TCB info", () => {
    const found = outcomes(
      Buffer.from(collateral.tcbInfo),
      "one bit",
      signed((tcbInfo) => ({ tcbInfo })),
    );
    expect(found).toEqual(["malformed.collateral", "unproven.collateral-expired", "unproven.collateral-signature"]);
  });

  test("in the QE identity", () => {
    const found = outcomes(
      Buffer.from(collateral.qeIdentity),
      "one bit",
      signed((qeIdentity) => ({ qeIdentity })),
    );
    expect(found.filter((code) => !/^(malformed|unproven)\.collateral/.test(code))).toEqual([]);
  });

  test("in the signatures of the collateral", () => {
    const tcb = outcomes(collateral.tcbInfoSignature, "every bit", (tcbInfoSignature) => outcome(quote, { tcbInfoSignature }));
    const qe = outcomes(collateral.qeIdentitySignature, "every bit", (signature) =>
      outcome(quote, { qeIdentitySignature: signature }),
    );
    expect([tcb, qe]).toEqual([["unproven.collateral-signature"], ["unproven.collateral-signature"]]);
  });

  test("in the quote, from its header to the auth data of the quoting enclave", () => {
    const end = 1220 + 32;
    const found = outcomes(quote.subarray(0, end), "one bit", (bytes) =>
      outcome(Buffer.concat([bytes, quote.subarray(end)]), {}),
    );
    const codes = [
      "malformed.quote",
      "unproven.key-type",
      "unproven.qe-report",
      "unproven.qe-vendor",
      "unproven.quote-signature",
    ];
    // nothing signs the outer certification type, and nothing depends on it
    expect(found).toEqual(["UpToDate", ...codes]);
    const type = [764, 765].map((at) => outcome(flipped(quote, at, 0), {}));
    expect(type).toEqual(["UpToDate", "UpToDate"]);
  });
});
