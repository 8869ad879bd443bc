/** The local key provider's answer on a simulated machine: what proves the enclave, and each thing that does not. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type KeyProviderResponse,
  MAX_RESPONSE_BYTES,
  parseKeyProviderResponse,
  proveKeyProvider,
  requireSealedBy,
  SEALED_KEY_BYTES,
} from "../../kms/attestation/key-provider-quote.ts";
import { bindEvidence } from "../../kms/attestation/report-data.ts";
import { parseCollateral } from "../../kms/attestation/tdx/collateral.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyEvidenceWith, verifyTdQuote } from "../../kms/attestation/verifier.ts";
import { concat, toHex, utf8 } from "../../kms/bytes.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { type EnclaveKnobs, startEnclave } from "../support/simulated-enclave.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";
import { readQuote } from "../support/tdx-samples.ts";
import { codeOf } from "./support/refusals.ts";

const now = new Date("2026-06-15T00:00:00Z");
const zeros = new Uint8Array(64);
const platform = simulatedPlatform();
const anchor = loadTrustAnchor(platform.rootDer);
const tdx = { collateral: parseCollateral(collateralJson(platform.collateral(now))), anchor, now };
const request = concat(new Uint8Array(32).fill(8), new Uint8Array(32));
const enclave = startEnclave();

const sgxOf = (provider: typeof enclave, at = now) => ({
  collateral: parseCollateral(provider.collateral(now)),
  anchor,
  now: at,
});
const asking = (reportData = request) => verifyTdQuote(parseQuote(simulatedTd({ platform }).quote(reportData)), tdx);

function prove(response: KeyProviderResponse = enclave.respond(), guest = asking(), provider = enclave) {
  return proveKeyProvider(response, guest, sgxOf(provider));
}

describe("an answer", () => {
  test("proves the enclave that sealed the key", () => {
    const proof = prove();
    expect([toHex(proof.mrEnclave), toHex(proof.mrSigner)]).toEqual([toHex(enclave.mrEnclave), toHex(enclave.mrSigner)]);
    expect([proof.isvProdId, proof.isvSvn, proof.provider.status]).toEqual([1, 3, "UpToDate"]);
  });

  test("proves it with what the platform's patch level is, short of revoked", () => {
    const old = startEnclave({ tcbStatus: "OutOfDate" });
    const proof = prove(old.respond(), asking(), old);
    expect([proof.provider.status, proof.provider.advisoryIds]).toEqual(["OutOfDate", ["SIM-SA-00002"]]);
    const revoked = startEnclave({ tcbStatus: "Revoked" });
    expect(codeOf(() => prove(revoked.respond(), asking(), revoked))).toBe("unproven.tcb-revoked");
  });

  const debug = concat(Uint8Array.of(0x07), new Uint8Array(7), Uint8Array.of(0xe7), new Uint8Array(7));
  test.each<[string, EnclaveKnobs, string]>([
    ["a debug enclave", { attributes: debug }, "unproven.debug"],
    ["another machine by its quoting enclave", { qeId: new Uint8Array(16).fill(1) }, "unproven.key-provider"],
    ["another machine by its platform id", { ppid: new Uint8Array(16).fill(1) }, "unproven.key-provider"],
    ["another root", { seed: new Uint8Array(32).fill(8) }, "unproven.crl"],
    ["a revoked platform", { revokePck: true }, "unproven.certificate-revoked"],
  ])("is refused of %s", (_name, knobs, code) => {
    const other = startEnclave(knobs);
    expect(codeOf(() => prove(other.respond(), asking(), other))).toBe(code);
  });

  const bound = enclave.respond();
  const half = concat(parseQuote(bound.providerQuote).body.reportData.subarray(0, 32), new Uint8Array(31), Uint8Array.of(1));
  test.each<[string, KeyProviderResponse, string]>([
    ["another key", { ...bound, encryptedKey: new Uint8Array(80) }, "unproven.report-data"],
    ["a quote of another answer", { ...bound, providerQuote: enclave.quote(zeros) }, "unproven.report-data"],
    ["more in the report data than the hash", { ...bound, providerQuote: enclave.quote(half) }, "unproven.report-data"],
    ["a changed quote", { ...bound, providerQuote: flipped(bound.providerQuote, 100) }, "unproven.quote-signature"],
    ["half a quote", { ...bound, providerQuote: bound.providerQuote.subarray(0, 500) }, "malformed.quote"],
    ["no quote", { ...bound, providerQuote: new Uint8Array(0) }, "malformed.quote"],
    ["a TD's quote", { ...bound, providerQuote: simulatedTd({ platform }).quote(zeros) }, "unproven.tee-type"],
    ["a quote of Intel's root", { ...bound, providerQuote: readQuote("sgx-v3-00a067110000.bin") }, "unproven.certificate-chain"],
  ])("is refused with %s", (_name, response, code) => expect(codeOf(() => prove(response))).toBe(code));

  test("is refused with the collateral of TDs, and after its collateral has ended", () => {
    const guest = asking();
    expect(codeOf(() => proveKeyProvider(bound, guest, tdx))).toBe("unproven.qe-identity");
    const late = sgxOf(enclave, new Date("2026-09-01T00:00:00Z"));
    expect(["unproven.collateral-expired", "unproven.crl"]).toContain(codeOf(() => proveKeyProvider(bound, guest, late)));
  });

  test.each<[string, Uint8Array]>([
    ["a quote for something else", new Uint8Array(64).fill(1)],
    ["a quote for nothing", zeros],
  ])("is refused for a guest that made %s", (_name, reportData) => {
    expect(codeOf(() => prove(bound, asking(reportData)))).toBe("unproven.report-data");
  });

  function flipped(bytes: Uint8Array, at: number): Uint8Array {
    return bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
  }
});

describe("the guest of an answer", () => {
  const record = `{"name":"local-sgx","id":"${toHex(enclave.mrEnclave)}"}`;
  const evidenceOf = (settings: Parameters<typeof simulatedTd>[0]) => {
    const evidence = simulatedTd({ platform, keyProvider: record, ...settings }).evidence(zeros);
    return verifyEvidenceWith(bindEvidence(evidence, zeros), tdx.collateral, anchor, now);
  };

  test("is the one whose log names the enclave", () => {
    expect(codeOf(() => requireSealedBy(prove(), evidenceOf({})))).toBe("accepted");
  });

  test.each<[string, Parameters<typeof simulatedTd>[0]]>([
    ["another app", { appCompose: '{"name":"other"}' }],
    ["another instance", { instanceSeed: new Uint8Array(20).fill(1) }],
    ["another machine", { platform: simulatedPlatform({ ppid: new Uint8Array(16).fill(1) }) }],
    ["another machine shape", { shape: { cpuCount: 4, memorySize: 2 * 1024 ** 3 } }],
    ["another enclave", { keyProvider: record.replace(/[0-9a-f]{64}/, "00".repeat(32)) }],
    ["another mode", { keyProvider: '{"name":"none","id":""}' }],
    ["another spelling", { keyProvider: record.replace(":", ": ") }],
  ])("is not that of %s", (_name, settings) => {
    expect(codeOf(() => requireSealedBy(prove(), evidenceOf(settings)))).toBe("unproven.key-provider");
  });

  test("is not one that has no key provider yet", () => {
    const evidence = simulatedTd({ platform }).evidence(zeros);
    const booting = verifyEvidenceWith(bindEvidence(evidence, zeros), tdx.collateral, anchor, now);
    expect(codeOf(() => requireSealedBy(prove(), booting))).toBe("unproven.key-provider");
  });
});

describe("the answer's form", () => {
  const { encryptedKey, providerQuote } = enclave.respond();
  const json = JSON.stringify({ encrypted_key: [...encryptedKey], provider_quote: [...providerQuote] });
  const frame = (text: string) => concat(Uint8Array.of(0, 0, text.length >> 8, text.length & 0xff), utf8(text));

  test.each<[string, Uint8Array]>([
    ["JSON", utf8(json)],
    ["JSON in its frame", frame(json)],
    ["hex", utf8(JSON.stringify({ encrypted_key: toHex(encryptedKey), provider_quote: toHex(providerQuote), more: 1 }))],
  ])("is read as %s", (_name, bytes) => {
    expect(parseKeyProviderResponse(bytes)).toEqual({ encryptedKey, providerQuote });
  });

  const key = [...encryptedKey];
  test.each<[string, unknown]>([
    ["a list", []],
    ["null", null],
    ["no key", { provider_quote: [1] }],
    ["no quote", { encrypted_key: key }],
    ["a number for a key", { encrypted_key: 1, provider_quote: [1] }],
    ["a key that is no hex", { encrypted_key: "xy", provider_quote: [1] }],
    ["a short key", { encrypted_key: key.slice(1), provider_quote: [1] }],
    ["a long key", { encrypted_key: [...key, 1], provider_quote: [1] }],
    ["a byte over 255", { encrypted_key: key.with(3, 256), provider_quote: [1] }],
    ["a negative byte", { encrypted_key: key.with(3, -1), provider_quote: [1] }],
    ["half a byte", { encrypted_key: key.with(3, 0.5), provider_quote: [1] }],
    ["a word for a byte", { encrypted_key: [...key.slice(1), "1"], provider_quote: [1] }],
    ["too long a quote", { encrypted_key: key, provider_quote: Array(200_000).fill(1) }],
    ["too many bytes", { encrypted_key: key, provider_quote: [1], more: "x".repeat(MAX_RESPONSE_BYTES) }],
  ])("is refused as %s", (_name, value) => {
    expect(codeOf(() => parseKeyProviderResponse(utf8(JSON.stringify(value))))).toBe("malformed.file");
  });

  test.each<[string, string]>([
    ["nothing", ""],
    ["a member twice", '{"encrypted_key":[],"encrypted_key":[],"provider_quote":[]}'],
    ["deep nesting", "[".repeat(100_000)],
  ])("is refused as %s", (_name, text) => {
    expect(codeOf(() => parseKeyProviderResponse(utf8(text)))).toBe("malformed.file");
  });

  test("is one that reads back, or a refusal, for any bytes", () => {
    const bytes = fc.uint8Array({ minLength: SEALED_KEY_BYTES, maxLength: SEALED_KEY_BYTES });
    fc.assert(
      fc.property(bytes, fc.uint8Array(), (sealed, quote) => {
        const text = JSON.stringify({ encrypted_key: [...sealed], provider_quote: [...quote] });
        expect(parseKeyProviderResponse(utf8(text))).toEqual({ encryptedKey: sealed, providerQuote: quote });
      }),
    );
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(utf8)), (noise) => {
        expect(codeOf(() => parseKeyProviderResponse(noise))).toBe("malformed.file");
      }),
    );
  });
});
