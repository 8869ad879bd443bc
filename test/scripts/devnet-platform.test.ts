/** The simulated machine against the real verifier: accepted under its own root only, and each knob gives its own refusal. */
import { expect, test } from "vitest";
import { appraiseBoot } from "../../kms/attestation/appraise.ts";
import { decodeEvidence, encodeEvidence, stripEvidence } from "../../kms/attestation/evidence.ts";
import { createOsImageCheck } from "../../kms/attestation/image/os-image.ts";
import { bindEvidence } from "../../kms/attestation/report-data.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa, loadTrustAnchor, type TrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { type VerifiedQuote, verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { verifyEvidenceWith } from "../../kms/attestation/verifier.ts";
import { toHex } from "../../kms/bytes.ts";
import type { Code } from "../../kms/errors.ts";
import { collateralJson, createPlatform, type PlatformKnobs } from "../../scripts/devnet/platform.ts";
import type { QuoteKnobs } from "../../scripts/devnet/quote.ts";
import { gib, platformSeed, simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";

const now = new Date("2026-06-01T12:00:00Z");
/** The image check of a guest that brings its document needs no image. */
const measureOsImage = createOsImageCheck(() => Promise.reject(new Error("no image is asked for")));
const day = 24 * 60 * 60 * 1000;
const reportData = new Uint8Array(64).fill(5);

function verify(knobs: PlatformKnobs, quoteKnobs: QuoteKnobs = {}, anchor?: TrustAnchor): VerifiedQuote {
  const platform = simulatedPlatform(knobs);
  const quote = parseQuote(simulatedTd({ platform, quoteKnobs }).quote(reportData));
  const collateral = parseCollateral(collateralJson(platform.collateral(now)));
  return verifyQuote({ quote, collateral, anchor: anchor ?? loadTrustAnchor(platform.rootDer), now });
}

test("verifies under its own root as UpToDate", () => {
  const verified = verify({});
  expect(verified.status).toBe("UpToDate");
  expect(verified.advisoryIds).toEqual([]);
  expect(toHex(verified.ppid)).toBe(toHex(simulatedPlatform().ppid));
});

test("never verifies under Intel's root, nor under the root of another seed", () => {
  const stranger = createPlatform(new Uint8Array(32).fill(8));
  expect(() => verify({}, {}, intelSgxRootCa)).toThrow();
  expect(() => verify({}, {}, loadTrustAnchor(stranger.rootDer))).toThrow();
});

test("makes the same root and PCK chain from the same seed in every process", () => {
  expect(simulatedPlatform().rootPem).toBe(createPlatform(platformSeed).rootPem);
});

test("verifies as a version 5 quote with a TD 1.5 report", () => {
  expect(verify({}, { version: 5 }).status).toBe("UpToDate");
});

const statuses: [string, PlatformKnobs, string, string[]][] = [
  ["an out-of-date platform", { tcbStatus: "OutOfDate", advisoryIds: ["SIM-SA-1"] }, "OutOfDate", ["SIM-SA-1"]],
  ["a quoting enclave that needs hardening", { qeStatus: "SWHardeningNeeded" }, "SWHardeningNeeded", []],
  ["a TDX module that is out of date", { moduleStatus: "OutOfDate" }, "OutOfDate", []],
];
test.each(statuses)("reports %s", (_, knobs, status, advisories) => {
  const verified = verify(knobs);
  expect([verified.status, verified.advisoryIds]).toEqual([status, advisories]);
});

const debugBit = Uint8Array.of(1, 0, 0, 0x10, 0, 0, 0, 0);
const refusals: [string, PlatformKnobs, QuoteKnobs, Code][] = [
  ["a revoked TCB level", { tcbStatus: "Revoked" }, {}, "unproven.tcb-revoked"],
  ["a platform below every level", { raiseLevels: true }, {}, "unproven.tcb-level"],
  ["collateral of another platform family", { fmspcInTcbInfo: "00906ED50000" }, {}, "unproven.platform"],
  ["a revoked PCK certificate", { revokePck: true }, {}, "unproven.certificate-revoked"],
  ["a revoked PCK authority", { revokePckCa: true }, {}, "unproven.certificate-revoked"],
  ["revocation lists past their end", { crlNextUpdate: new Date(now.getTime() - day) }, {}, "unproven.crl"],
  [
    "collateral past its end",
    { collateralTime: new Date(now.getTime() - 40 * day), crlNextUpdate: new Date(now.getTime() + day) },
    {},
    "unproven.collateral-expired",
  ],
  ["revocation lists from the future", { collateralTime: new Date(now.getTime() + 3 * day) }, {}, "unproven.crl"],
  ["an expired PCK certificate", { pckNotAfter: new Date(now.getTime() - day) }, {}, "unproven.certificate-chain"],
  ["a TD in debug mode", {}, { tdAttributes: debugBit }, "unproven.debug"],
  ["a TD without SEPT_VE_DISABLE", {}, { tdAttributes: new Uint8Array(8) }, "unproven.td-attributes"],
  ["a signer on the TDX module", {}, { mrSignerSeam: new Uint8Array(48).fill(1) }, "unproven.tdx-module"],
  ["a service TD", {}, { version: 5, mrServiceTd: new Uint8Array(48).fill(1) }, "unproven.service-td"],
  ["a QE report for another attestation key", {}, { qeReportData: new Uint8Array(64) }, "unproven.qe-report"],
];
test.each(refusals)("is refused with %s", (_, knobs, quoteKnobs, code) => {
  expect(() => verify(knobs, quoteKnobs)).toThrow(expect.objectContaining({ code }));
});

test.each([1, 2] as const)("boots a VM whose evidence, also stripped, appraises with event version %i", async (eventVersion) => {
  const platform = simulatedPlatform();
  const td = simulatedTd({ platform, eventVersion, appId: new Uint8Array(20).fill(3), instanceSeed: new Uint8Array(20).fill(4) });
  const evidence = stripEvidence(decodeEvidence(td.attest(reportData)));
  const bound = bindEvidence(decodeEvidence(encodeEvidence(evidence)), reportData);
  const collateral = parseCollateral(collateralJson(platform.collateral(now)));
  const boot = appraiseBoot(verifyEvidenceWith(bound, collateral, loadTrustAnchor(platform.rootDer), now), {
    vmConfig: "",
    mode: "runtime",
  });
  expect(toHex(boot.info.appId)).toBe("03".repeat(20));
  expect(toHex(boot.info.composeHash)).toBe(toHex(td.composeHash));
  expect(toHex(boot.info.instanceId)).toBe(toHex(td.instanceId));
  expect(toHex(boot.info.osImageHash)).toBe(toHex(td.osImageHash));
  await measureOsImage(boot); // without an image
});

test("refuses the image when the VM claims another memory size than it was started with", () => {
  const platform = simulatedPlatform();
  const td = simulatedTd({ platform });
  const bound = bindEvidence(decodeEvidence(td.attest(reportData)), reportData);
  const collateral = parseCollateral(collateralJson(platform.collateral(now)));
  const verified = verifyEvidenceWith(bound, collateral, loadTrustAnchor(platform.rootDer), now);
  const claimed = JSON.stringify({ ...JSON.parse(td.vmConfig), memory_size: 8 * gib });
  const boot = appraiseBoot(verified, { vmConfig: claimed, mode: "runtime" });
  expect(() => measureOsImage(boot)).toThrow(expect.objectContaining({ code: "unproven.os-image" }));
});
