/** The key of one machine must not be able to say what state all machines are in. */
import { expect, test } from "vitest";
import { type Collateral, parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { pckChainOf, verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { pem } from "../../scripts/devnet/der.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { signAs, simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";

const now = new Date("2026-06-15T00:00:00Z");
const platform = simulatedPlatform({ tcbStatus: "OutOfDate" });
const anchor = loadTrustAnchor(platform.rootDer);
const quote = parseQuote(simulatedTd({ platform }).quote(new Uint8Array(64)));
const honest = parseCollateral(collateralJson(platform.collateral(now)));

test("the simulated platform is out of date by its honest collateral", () => {
  expect(pem("CERTIFICATE", platform.rootDer)).toBe(platform.rootPem);
  expect(verifyQuote({ quote, collateral: honest, anchor, now }).status).toBe("OutOfDate");
});

const tcbInfo = honest.tcbInfo.replaceAll('"OutOfDate"', '"UpToDate"');
const forged: [string, Partial<Collateral>][] = [
  ["TCB info", { tcbInfo, tcbInfoSignature: signAs("pck", tcbInfo), tcbInfoIssuerChain: pckChainOf(quote) }],
  ["QE identity", { qeIdentitySignature: signAs("pck", honest.qeIdentity), qeIdentityIssuerChain: pckChainOf(quote) }],
];

test.each(forged)("%s signed by a platform's PCK key is refused, though its chain leads to the anchor", (_name, change) => {
  const refused = expect.objectContaining({ code: "unproven.collateral-signature" });
  expect(() => verifyQuote({ quote, collateral: { ...honest, ...change }, anchor, now })).toThrow(refused);
});
