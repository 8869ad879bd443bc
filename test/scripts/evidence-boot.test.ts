/** `evidence verify` on logs, boot modes and the firmware's log, and `evidence key-provider` on a simulated machine. */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { encodeEvidence } from "../../kms/attestation/evidence.ts";
import { toHex } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import { collateralJson } from "../../scripts/devnet/platform.ts";
import { proveKeyProviderFiles } from "../../scripts/evidence-key-provider.ts";
import { type EvidenceVerifyOptions, verifyEvidence } from "../../scripts/evidence-verify.ts";
import vectors from "../fixtures/vectors/kdf.json" with { type: "json" };
import { captures } from "../support/captures.ts";
import { runCommandLine } from "../support/programs.ts";
import { scratchFolder } from "../support/scratch.ts";
import { startEnclave } from "../support/simulated-enclave.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";

const folder = fileURLToPath(new URL("../fixtures/tdx/", import.meta.url));
const { dir: scratch, file: scratchFile } = scratchFolder();
const at = (name: string): string => join(folder, name);
const lite = { collateral: at("collateral-90c06f-2026-06.json"), at: "2026-06-15T00:00:00Z" };

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "accepted";
  } catch (thrown) {
    if (thrown instanceof KmsError) return thrown.code;
    throw thrown;
  }
}

const now = new Date("2026-06-15T00:00:00Z");
const platform = simulatedPlatform();
const enclave = startEnclave();
const simulated = {
  collateral: scratchFile("tdx-collateral.json", collateralJson(platform.collateral(now))),
  root: scratchFile("root.der", platform.rootDer),
  at: now.toISOString(),
};
const record = `{"name":"local-sgx","id":"${toHex(enclave.mrEnclave)}"}`;
const zeros = new Uint8Array(64);
const attested = (name: string, settings: Parameters<typeof simulatedTd>[0]) =>
  scratchFile(name, simulatedTd({ platform, ...settings }).attest(zeros));

describe("a real capture", () => {
  test.each(captures.filter(({ file }) => !file.startsWith("mpc")))("$file shows what its log accounts for", async (capture) => {
    const { accepted, facts, file } = capture;
    const { report, notes } = await verifyEvidence(at(file), { collateral: at(accepted.collateral), at: accepted.at });
    expect(notes).toEqual([]);
    if (report.kind !== "tdx") throw new Error("not a TD");
    expect(report.registers?.rtmr3).toBe("replayed");
    expect(JSON.parse(Buffer.from(facts.key_provider_info_hex, "hex").toString()).id).toBe(report.keyProvider?.id);
    expect(["unused", "agrees"]).toContain(report.mrConfigId?.state);
  });

  test("is refused with the firmware's log of another boot, the register named", async () => {
    const work = verifyEvidence(at("dstack-quote-report.json"), { ...lite, ccel: at("ccel.bin") });
    await expect(work).rejects.toMatchObject({ code: "unproven.event-log", message: expect.stringMatching(/^RTMR0 mismatch/) });
    const bare = verifyEvidence(at("tdx-v4-90c06f-azure1.bin"), {
      collateral: at("collateral-90c06f-2026-02.json"),
      at: "2026-03-01T00:00:00Z",
      ccel: at("ccel.bin"),
    });
    expect(await codeOf(bare)).toBe("unproven.event-log");
    expect(await codeOf(verifyEvidence(at("dstack-quote-report.json"), { ...lite, ccel: at("README.md") }))).toBe(
      "malformed.event-log",
    );
  });

  test("is refused with a changed boot event", async () => {
    const capture = JSON.parse(readFileSync(at("dstack-quote-report.json"), "utf8")) as Record<string, string>;
    const log = JSON.parse(capture["event_log"] ?? "") as { imr: number; digest: string }[];
    const changed = log.map((event) => (event.imr === 2 ? { ...event, digest: "00".repeat(48) } : event));
    const file = scratchFile("changed.json", JSON.stringify({ ...capture, event_log: changed }));
    await expect(verifyEvidence(file, lite)).rejects.toMatchObject({ message: expect.stringMatching(/^RTMR2 mismatch/) });
  });
});

describe("a boot mode", () => {
  const caPem = scratchFile("ca.pem", vectors.certificates[0]?.pem ?? "");
  const caSpki = new X509Certificate(readFileSync(caPem)).publicKey.export({ format: "der", type: "spki" }).toString("hex");
  const ofCa = attested("kms-guest.bin", { keyProvider: `{"name":"kms","id":"${caSpki}"}` });
  const local = attested("local-guest.bin", { keyProvider: record });
  const none = attested("none-guest.bin", { keyProvider: '{"name":"none","id":""}' });
  const tpm = attested("tpm-guest.bin", { keyProvider: '{"name":"tpm","id":""}' });
  const booting = attested("booting-guest.bin", {});
  const odd = attested("odd-guest.bin", { keyProvider: '{"name": "none","id":""}' });

  test.each<[string, string, EvidenceVerifyOptions, string]>([
    ["local, demanded", local, { keyProvider: "local" }, "accepted"],
    ["local, demanded by its id", local, { keyProviderId: toHex(enclave.mrEnclave) }, "accepted"],
    ["local, demanded by its id with 0x", local, { keyProviderId: `0x${toHex(enclave.mrEnclave)}` }, "accepted"],
    ["local, demanded of another enclave", local, { keyProviderId: "00".repeat(32) }, "unproven.key-provider"],
    ["local where a KMS is demanded", local, { keyProvider: "kms" }, "unproven.key-provider"],
    ["none, demanded", none, { keyProvider: "none" }, "accepted"],
    ["none where a TPM is demanded", none, { keyProvider: "tpm" }, "unproven.key-provider"],
    ["tpm, demanded", tpm, { keyProvider: "tpm" }, "accepted"],
    ["kms, demanded by its root CA", ofCa, { rootCa: caPem }, "accepted"],
    ["kms, demanded by its root CA and its mode", ofCa, { rootCa: caPem, keyProvider: "kms" }, "accepted"],
    ["local where the KMS of a root CA is demanded", local, { rootCa: caPem }, "unproven.key-provider"],
    ["that is not known yet", booting, { keyProvider: "none" }, "unproven.key-provider"],
    ["that nobody demands of a guest that boots", booting, {}, "accepted"],
    ["in another spelling", odd, { keyProvider: "none" }, "unproven.key-provider"],
    ["in another spelling that nobody demands", odd, {}, "accepted"],
    ["two ways at once", ofCa, { rootCa: caPem, keyProviderId: "00" }, "malformed.usage"],
    ["of a root CA in another mode", ofCa, { rootCa: caPem, keyProvider: "local" }, "malformed.usage"],
    ["by an id that is no hex", local, { keyProviderId: "xy" }, "malformed.usage"],
    ["by a root CA that is none", local, { rootCa: simulated.collateral }, "malformed.certificate"],
  ])("%s", async (_name, file, options, code) => {
    expect(await codeOf(verifyEvidence(file, { ...simulated, ...options }))).toBe(code);
  });

  test("of the real lite guest is a KMS, known by the key of its root", async () => {
    const name = "dstack-tdx-lite-attestation.json";
    const file = at(name);
    const facts = captures.find((capture) => capture.file === name)?.facts;
    const keyProviderId = JSON.parse(Buffer.from(facts?.key_provider_info_hex ?? "", "hex").toString()).id as string;
    expect(await codeOf(verifyEvidence(file, { ...lite, keyProvider: "kms", keyProviderId }))).toBe("accepted");
    expect(await codeOf(verifyEvidence(file, { ...lite, rootCa: caPem }))).toBe("unproven.key-provider");
  });

  test("is not in a bare quote", async () => {
    const options = { collateral: at("collateral-b0c06f-2025-06.json"), at: "2025-07-01T00:00:00Z" };
    const file = at("tdx-v4-b0c06f-a.bin");
    expect(await codeOf(verifyEvidence(file, options))).toBe("accepted");
    expect(await codeOf(verifyEvidence(file, { ...options, keyProvider: "local" }))).toBe("unproven.key-provider");
  });

  test("that guests do not write is noted", async () => {
    const { report, notes } = await verifyEvidence(odd, simulated);
    expect(report).toMatchObject({ keyProvider: null });
    expect(notes).toEqual([expect.stringMatching(/^the key-provider event is not in the form/)]);
  });
});

test("the document of mr_config_id is read, and says nothing of another version", async () => {
  const file = attested("v1-guest.bin", { keyProvider: record });
  const document = JSON.stringify({ version: 3, compose_hash: "22".repeat(32), key_provider: "local" });
  const { report } = await verifyEvidence(file, { ...simulated, mrConfig: scratchFile("mr-config.json", document) });
  expect(report).toMatchObject({ mrConfigId: { version: 1, state: "agrees" } });
  expect(await codeOf(verifyEvidence(file, { ...simulated, mrConfig: scratchFile("bad.json", "{}") }))).toBe("malformed.compose");
});

describe("a GCP guest's evidence", () => {
  const { stack, platform: own } = simulatedTd({ platform }).evidence(zeros);
  if (own.kind !== "tdx") throw new Error("not a TDX guest");
  const none = new Uint8Array(0);
  const tpmQuote = { message: none, signature: none, pcrValues: [], akCert: none, platform: "gcp", eventLog: [] } as const;
  const envelope = (quote: Uint8Array) =>
    encodeEvidence({ wire: "v1", platform: { kind: "gcp-tdx", quote, eventLog: own.eventLog, tpmQuote }, stack });

  test("is refused as a whole, once its TDX half has passed", async () => {
    const whole = verifyEvidence(scratchFile("gcp.bin", envelope(own.quote)), simulated);
    await expect(whole).rejects.toMatchObject({
      code: "unproven.platform-unsupported",
      message: expect.stringMatching(/TDX half verifies with status UpToDate/),
    });
    const changed = own.quote.map((byte, index) => (index === 600 ? byte ^ 1 : byte));
    expect(await codeOf(verifyEvidence(scratchFile("gcp-changed.bin", envelope(changed)), simulated))).toBe(
      "unproven.quote-signature",
    );
  });
});

describe("evidence key-provider", () => {
  const request = new Uint8Array(64).fill(8, 0, 32);
  const { encryptedKey, providerQuote } = enclave.respond();
  const response = scratchFile(
    "response.json",
    JSON.stringify({ encrypted_key: [...encryptedKey], provider_quote: [...providerQuote] }),
  );
  const options = {
    ...simulated,
    sgxCollateral: scratchFile("sgx-collateral.json", enclave.collateral(now)),
    response,
    quote: scratchFile("request.bin", simulatedTd({ platform }).quote(request)),
  };
  const run = (...args: string[]) => runCommandLine("evidence.ts", args);
  const evidence = attested("sealed-guest.bin", { keyProvider: record });

  test("reports the enclave and what the guest has to have recorded", async () => {
    expect(await proveKeyProviderFiles({ ...options, evidence, mrEnclave: toHex(enclave.mrEnclave) })).toMatchObject({
      mrEnclave: toHex(enclave.mrEnclave),
      provider: { tcbStatus: "UpToDate", advisoryIds: [] },
      keyProviderEvent: record,
      isRecorded: true,
    });
    expect((await proveKeyProviderFiles(options)).isRecorded).toBeNull();
  });

  test.each<[string, object, string]>([
    ["another enclave than demanded", { mrEnclave: "00".repeat(32) }, "unproven.key-provider"],
    [
      "a guest of another app",
      { evidence: attested("other.bin", { appCompose: "{}", keyProvider: record }) },
      "unproven.key-provider",
    ],
    ["a guest that is still booting", { evidence: attested("early.bin", {}) }, "unproven.key-provider"],
    ["a bare quote as evidence", { evidence: options.quote }, "unproven.key-provider"],
    ["a quote made for something else", { quote: evidence }, "unproven.report-data"],
    ["collateral of the wrong kind", { sgxCollateral: simulated.collateral }, "unproven.qe-identity"],
    ["an answer that is none", { response: simulated.collateral }, "malformed.file"],
    ["no such file", { response: join(scratch, "nowhere") }, "malformed.file"],
    ["Intel's root", { root: at("IntelSGXRootCA.der") }, "unproven.crl"],
  ])("refuses %s", async (_name, change, code) => {
    expect(await codeOf(proveKeyProviderFiles({ ...options, ...change }))).toBe(code);
  });

  test("is a command that prints one JSON document, and words", async () => {
    const files = ["--response", response, "--quote", options.quote, "--evidence", evidence, "--root", simulated.root];
    const args = [
      ...files,
      "--collateral",
      simulated.collateral,
      "--sgx-collateral",
      options.sgxCollateral,
      "--at",
      simulated.at,
    ];
    const json = await run("key-provider", ...args, "--json");
    expect([json.status, json.stderr, JSON.parse(json.stdout).keyProviderEvent]).toEqual([0, "", record]);
    const refused = await run("key-provider", ...args, "--mr-enclave", "00".repeat(32));
    expect([refused.status, refused.stdout]).toEqual([3, ""]);
    expect(refused.stderr).toMatch(/need MRENCLAVE.*\nhint: compare with the key-provider event/);
    const words = await run(
      "verify",
      evidence,
      "--root",
      simulated.root,
      "--collateral",
      simulated.collateral,
      "--at",
      simulated.at,
    );
    expect(words.stdout).toMatch(/ replayed +rtmr3\n +keyProvider +local [0-9a-f]{64}\n +mrConfigId +v1 agrees/);
  });
});
