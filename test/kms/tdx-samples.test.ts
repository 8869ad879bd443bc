/** Every real sample with every collateral it was judged with: outcome, status, advisories in order, and intermediate values. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { INTEL_SGX_ROOT_CA_DER } from "../../kms/attestation/tdx/intel-root.ts";
import { parsePlatformIdentity, pckCaOf } from "../../kms/attestation/tdx/pck.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { parseTcbInfo } from "../../kms/attestation/tdx/tcb-info.ts";
import { matchTcbLevel } from "../../kms/attestation/tdx/tcb-match.ts";
import { intelSgxRootCa, loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { pckChainOf, verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { parseChain } from "../../kms/attestation/tdx/x509-path.ts";
import { toHex } from "../../kms/bytes.ts";
import { expected, readCollateral, readFixture, readQuote } from "../support/tdx-samples.ts";

/** The kinds of refusal that the reasons of expected.json stand for. */
const codeOfReason: Readonly<Record<string, string>> = {
  "QE Identity issue date is in the future": "unproven.collateral-expired",
  "TCBInfo expired": "unproven.collateral-expired",
  "Fmspc mismatch": "unproven.platform",
  "qe report sig": "unproven.qe-report",
  "No matching TCB level": "unproven.tcb-level",
  CrlExpired: "unproven.crl",
  CertNotValidYet: "unproven.certificate-chain",
  debug: "unproven.debug",
};

/** Refused earlier and for a better reason than the reference has: bytes that nobody signed follow the auth data. */
const stricter: Readonly<Record<string, string>> = { "tdx-v4-50806f-e4.bin": "malformed.quote" };

const runs = expected.samples.flatMap((sample) => (sample.runs ?? []).map((run) => ({ ...run, file: sample.file })));

function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function verify(file: string, collateral: string, at: string) {
  const quote = parseQuote(readQuote(file));
  return verifyQuote({ quote, collateral: readCollateral(collateral), anchor: intelSgxRootCa, now: new Date(at) });
}

describe("outcome of the real samples", () => {
  test.each(runs.filter(({ result }) => result === "accepted"))("accepts $file with $collateral at $at", (run) => {
    const quote = verify(run.file, run.collateral, run.at);
    expect(quote.status).toBe(run.status);
    expect(quote.advisoryIds).toEqual(run.advisory_ids);
    expect(quote.qeStatus.status).toBe(run.qe_status);
    expect(quote.platformStatus.status).toBe(run.platform_status);
    if (run.tdx_module) expect(quote.tdxModule).toMatchObject(run.tdx_module);
    else expect(quote.tdxModule).toBeUndefined();
  });

  test.each(runs.filter(({ result }) => result === "rejected"))("refuses $file with $collateral at $at: $reason", (run) => {
    const code = stricter[run.file] ?? codeOfReason[run.reason ?? ""];
    expect(code).toBeDefined();
    expect(() => verify(run.file, run.collateral, run.at)).toThrow(expect.objectContaining({ code }));
  });

  test("covers every sample of the table", () => {
    expect(runs.filter(({ result }) => result === "accepted").length).toBeGreaterThanOrEqual(16);
    expect(runs.length).toBeGreaterThanOrEqual(30);
  });
});

describe("fields of the real samples", () => {
  test.each(expected.samples)("decodes $file", (sample) => {
    const bytes = readQuote(sample.file);
    const quote = parseQuote(bytes);
    expect(bytes.length).toBe(sample.quote_length);
    expect([quote.version, quote.teeType, quote.trailing.length]).toEqual([
      sample.version,
      sample.tee_type,
      sample.trailing_bytes,
    ]);
    const body = new Map<string, unknown>(Object.entries(quote.body));
    for (const [name, value] of Object.entries(sample.fields)) {
      const found = body.get(ourName(name));
      expect([name, found instanceof Uint8Array ? toHex(found) : found]).toEqual([name, value]);
    }
  });

  test.each(expected.samples)("reads the platform of $file from its PCK certificate", ({ file, pck }) => {
    const [leaf] = parseChain(pckChainOf(parseQuote(readQuote(file))));
    const platform = parsePlatformIdentity(leaf);
    expect({
      fmspc: toHex(platform.fmspc),
      pce_id: toHex(platform.pceId),
      pce_svn: platform.pceSvn,
      cpu_svn: toHex(platform.cpuSvn),
      ppid: toHex(platform.ppid),
      device_id: sha256(platform.ppid),
      ca: pckCaOf(leaf),
      not_before: isoSeconds(leaf.notBefore),
      not_after: isoSeconds(leaf.notAfter),
    }).toEqual(Object.fromEntries(Object.entries(pck).filter(([name]) => name !== "sgx_type")));
  });
});

function isoSeconds(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000", "");
}

/** expected.json spells fields as the specification does. */
function ourName(name: string): string {
  const special: Readonly<Record<string, string>> = {
    mrtd: "mrTd",
    mr_enclave: "mrEnclave",
    mrenclave: "mrEnclave",
    mrsigner: "mrSigner",
    miscselect: "miscSelect",
    isv_prod_id: "isvProdId",
  };
  return special[name] ?? name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

describe("intermediate values of the first sample", () => {
  const quote = parseQuote(readQuote("tdx-v4-b0c06f-a.bin"));
  const collateral = readCollateral("collateral-b0c06f-2025-06.json");

  test("slices the signed parts and the certification data", () => {
    expect(quote.signedPart.length).toBe(632);
    expect(sha256(quote.signedPart)).toBe("263b491bb14d627cc0d13408888dbe1ef550b7b8265794702303300bc388ef17");
    expect(sha256(quote.qe.reportBytes)).toBe("01e3193c8f71faf088438be15a615919e351669d9fc3c852d08e73120aa30b1f");
    expect([quote.qe.authData.length, pckChainOf(quote).length]).toEqual([32, 3678]);
    const keyHash = createHash("sha256").update(quote.attestationKey).update(quote.qe.authData).digest("hex");
    expect(keyHash).toBe("c936492a774946af9b588f6b3bd8beddc5957d1761ded2c0bb61d7b64de5b324");
    expect(toHex(quote.qe.report.reportData.subarray(0, 32))).toBe(keyHash);
  });

  test("reads the QE report", () => {
    const { miscSelect, attributes, isvProdId, isvSvn } = quote.qe.report;
    expect([miscSelect, toHex(attributes), isvProdId, isvSvn]).toEqual([0, "1500000000000000e700000000000000", 2, 6]);
  });

  test("keeps the signed texts as they were", () => {
    expect([collateral.tcbInfo.length, collateral.qeIdentity.length]).toEqual([2934, 461]);
    expect(sha256(collateral.tcbInfo)).toMatch(/^369f99a1.*6ace$/);
    expect(sha256(collateral.qeIdentity)).toMatch(/^261a8b43.*5e96$/);
  });

  test("matches the highest of the two levels", () => {
    const [leaf] = parseChain(pckChainOf(quote));
    const svns = quote.body.kind === "sgx" ? undefined : quote.body.teeTcbSvn;
    const level = matchTcbLevel(parseTcbInfo(collateral.tcbInfo), parsePlatformIdentity(leaf), svns);
    expect(level.tcbDate).toBe("2024-03-13T00:00:00Z");
    expect(level.tcb.pcesvn).toBe(11);
    expect(level.tcb.sgxtcbcomponents).toEqual([2, 2, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(level.tcb.tdxtcbcomponents).toEqual([5, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  });
});

describe("the trust anchor", () => {
  test("is Intel's published root, byte for byte", () => {
    expect(INTEL_SGX_ROOT_CA_DER).toEqual(readFixture("IntelSGXRootCA.der"));
    expect(sha256(INTEL_SGX_ROOT_CA_DER)).toBe("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3");
    expect(intelSgxRootCa.certificate.serial).toBe("22650cd65a9d3489f383b49552bf501b392706ac");
  });

  test("loads from PEM, and refuses what follows it, a broken signature and a certificate that is no root", () => {
    const base64 = Buffer.from(INTEL_SGX_ROOT_CA_DER).toString("base64");
    const pem = `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
    const load = (text: string) => loadTrustAnchor(Buffer.from(text));
    const refused = expect.objectContaining({ code: "malformed.certificate" });
    expect(load(pem).certificate.serial).toBe(intelSgxRootCa.certificate.serial);
    expect(() => load(`${pem}trailing`)).toThrow(refused);
    expect(() => load(pem + pem)).toThrow(refused);
    expect(() => load("no certificate")).toThrow(refused);
    expect(() => loadTrustAnchor(Uint8Array.from([...INTEL_SGX_ROOT_CA_DER, 0]))).toThrow(refused);
    const flipped = Uint8Array.from(INTEL_SGX_ROOT_CA_DER);
    flipped[100] = (flipped[100] ?? 0) ^ 1;
    expect(() => loadTrustAnchor(flipped)).toThrow(refused);
    const [, , pckCa] = pckChainOf(parseQuote(readQuote("tdx-v4-b0c06f-a.bin"))).split("-----BEGIN CERTIFICATE-----");
    expect(() => load(`-----BEGIN CERTIFICATE-----${pckCa}`)).toThrow(refused);
  });
});
