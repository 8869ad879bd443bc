/** `evidence verify` over the real samples: each outcome of expected.json at its pinned time, and every form of input. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { decodeEvidence, encodeEvidence } from "../../kms/attestation/evidence.ts";
import { KmsError } from "../../kms/errors.ts";
import { readEvidenceInput } from "../../scripts/evidence-input.ts";
import { verifyEvidenceFile } from "../../scripts/evidence-verify.ts";
import { runCommandLine } from "../support/programs.ts";
import { scratchFolder } from "../support/scratch.ts";

const folder = fileURLToPath(new URL("../fixtures/tdx/", import.meta.url));
const { file: scratchFile } = scratchFolder();
const at = (name: string): string => join(folder, name);
const lite = { collateral: at("collateral-90c06f-2026-06.json"), at: "2026-06-15T00:00:00Z" };

interface Run {
  readonly collateral: string;
  readonly at: string;
  readonly result: "accepted" | "rejected";
  readonly status?: string;
  readonly advisory_ids?: string[];
  readonly reason?: string;
}

interface Sample {
  readonly file: string;
  readonly fields: Record<string, string>;
  readonly runs?: readonly Run[];
  readonly dstack?: { readonly app_id: string; readonly compose_hash: string };
}

const expected = JSON.parse(readFileSync(at("expected.json"), "utf8")) as { samples: Sample[] };
const runs = expected.samples.flatMap((sample) => (sample.runs ?? []).map((run) => ({ ...run, sample, file: sample.file })));

/** The class of error that each reason of the table stands for. */
const codeOfReason: Readonly<Record<string, RegExp>> = {
  "QE Identity issue date is in the future": /^unproven\.collateral-expired$/,
  "TCBInfo expired": /^unproven\.collateral-expired$/,
  CrlExpired: /^unproven\.crl$/,
  CertNotValidYet: /^unproven\.certificate-chain$/,
  "Fmspc mismatch": /^unproven\.platform$/,
  "qe report sig": /^unproven\.qe-report$/,
  "No matching TCB level": /^unproven\.tcb-level$/,
  debug: /^unproven\.debug$/,
};
/** Its bytes after the auth data are text that its publisher appended; unsigned bytes there must be zero here. */
const refusedEarlier: Readonly<Record<string, RegExp>> = { "tdx-v4-50806f-e4.bin": /^malformed\.quote$/ };

async function outcome(work: Promise<unknown>): Promise<KmsError> {
  const thrown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (thrown instanceof KmsError) return thrown;
  throw new Error("not refused with a code", { cause: thrown });
}

describe("real samples", () => {
  test("are at least the eight that the outcome table promises", () => {
    expect(new Set(runs.map(({ file }) => file)).size).toBeGreaterThanOrEqual(8);
  });

  test.each(runs.filter(({ result }) => result === "accepted"))("$file @ $at is $status", async (run) => {
    const report = await verifyEvidenceFile(at(run.file), { collateral: at(run.collateral), at: run.at });
    expect(report).toMatchObject({ ok: true, tcbStatus: run.status, advisoryIds: run.advisory_ids });
    const { fields, dstack } = run.sample;
    expect(report.reportData).toBe(fields["report_data"]);
    if (report.kind === "sgx") expect(report.mrEnclave).toBe(fields["mr_enclave"]);
    else expect([report.mrtd, ...report.rtmr]).toEqual(["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"].map((name) => fields[name]));
    if (dstack !== undefined && report.bootInfo !== null) {
      expect(report.bootInfo).toMatchObject({ appId: dstack.app_id, composeHash: dstack.compose_hash, tcbStatus: run.status });
    }
  });

  test.each(runs.filter(({ result }) => result === "rejected"))("$file @ $at is refused: $reason", async (run) => {
    const refusal = await outcome(verifyEvidenceFile(at(run.file), { collateral: at(run.collateral), at: run.at }));
    expect(refusal.code).toMatch(refusedEarlier[run.file] ?? codeOfReason[run.reason ?? ""] ?? /^no such reason$/);
  });

  test("pass under Intel's root given as a file, and fail under another", async () => {
    const file = at("dstack-quote-report.json");
    expect((await verifyEvidenceFile(file, { ...lite, root: at("IntelSGXRootCA.der") })).ok).toBe(true);
    const other = fileURLToPath(new URL("../fixtures/vectors/kdf.json", import.meta.url));
    const pem = JSON.parse(readFileSync(other, "utf8")).certificates[0].pem as string;
    const refusal = await outcome(verifyEvidenceFile(file, { ...lite, root: scratchFile("other-root.pem", pem) }));
    expect(refusal.family).toBe("unproven");
  });
});

describe("the same evidence in each form", () => {
  const capture = JSON.parse(readFileSync(at("dstack-tdx-lite-getquote.json"), "utf8")) as Record<string, string>;
  const quote = Buffer.from(capture["quote"] ?? "", "hex");
  const v0 = Buffer.from(JSON.parse(readFileSync(at("dstack-tdx-lite-attestation.json"), "utf8")).attestation, "hex");
  const v1 = encodeEvidence({ ...decodeEvidence(new Uint8Array(v0)), wire: "v1" });

  test.each<[string, string | Uint8Array, boolean]>([
    ["quote bytes", quote, false],
    ["quote hex", `${quote.toString("hex")}\n`, false],
    ["quote hex with 0x", `0x${quote.toString("hex")}`, false],
    ["quote as an array of bytes", JSON.stringify([...quote]), false],
    ["quote hex in capitals", quote.toString("hex").toUpperCase(), false],
    ["quote hex in lines", quote.toString("hex").replace(/.{60}/g, "$&\r\n"), false],
    ["quote in base64", quote.toString("base64"), false],
    ["quote in base64 lines", quote.toString("base64").replace(/.{76}/g, "$&\n"), false],
    ["quote in base64 for URLs", quote.toString("base64url"), false],
    ["a quote that is padded with zeros", Buffer.concat([quote, Buffer.alloc(3000)]), false],
    ["a capture of a quote in base64", JSON.stringify({ quote: quote.toString("base64") }), false],
    ["a capture of a quote as an array", JSON.stringify({ quote: [...quote] }), false],
    ["a capture of a quote alone", JSON.stringify({ quote: `0x${quote.toString("hex")}` }), false],
    ["a capture with its event log", JSON.stringify(capture), true],
    [
      "a capture with its event log in place",
      JSON.stringify({ ...capture, event_log: JSON.parse(capture["event_log"] ?? "") }),
      true,
    ],
    [
      "a capture with its event log in its TCB info",
      JSON.stringify({ ...capture, event_log: undefined, tcb_info: { event_log: JSON.parse(capture["event_log"] ?? "") } }),
      true,
    ],
    [
      "a capture with its TCB info as text",
      JSON.stringify({ ...capture, event_log: null, tcb_info: JSON.stringify({ event_log: capture["event_log"] }) }),
      true,
    ],
    ["a capture in an answer", JSON.stringify({ jsonrpc: { result: capture } }), true],
    ["quote hex behind a byte order mark", `\ufeff${quote.toString("hex")}`, false],
    ["a capture behind a byte order mark", `\ufeff${JSON.stringify(capture)}`, true],
    ["a capture with other TCB info", JSON.stringify({ quote: quote.toString("hex"), tcb_info: { id: "TDX" } }), false],
    ["a V0 envelope", v0, true],
    ["a V0 envelope in base64", v0.toString("base64"), true],
    ["a V0 envelope in hex", v0.toString("hex"), true],
    ["a V1 envelope", v1, true],
    ["a capture of a V1 envelope", JSON.stringify({ attestation: Buffer.from(v1).toString("hex") }), true],
  ])("%s", async (name, content, hasBoot) => {
    const report = await verifyEvidenceFile(scratchFile(name.replaceAll(" ", "-"), content), lite);
    expect(report).toMatchObject({ kind: "tdx", tcbStatus: "UpToDate" });
    expect(report.bootInfo?.appId).toBe(hasBoot ? "86b0e55f2fa8e4fb69d890f14f54d5612707646e" : undefined);
    expect(report.bootInfo?.osImageHash).toBe(
      hasBoot ? "e6f5cfec20c02e7b97baa213d0f718020b55e040172d90ccbcb946d56c8b09db" : undefined,
    );
  });

  test.each<[string, (log: string) => string]>([
    ["itself", (log) => log],
    ["in a document", (log) => JSON.stringify({ mrtd: "00", event_log: JSON.parse(log) })],
    ["as text in a document", (log) => ` ${JSON.stringify({ event_log: log })}`],
    ["in a document of a document", (log) => JSON.stringify({ tcb_info: JSON.stringify({ event_log: JSON.parse(log) }) })],
  ])("a quote and its log in a file of its own, %s", async (_form, write) => {
    const eventLog = scratchFile("log.json", write(capture["event_log"] ?? ""));
    const report = await verifyEvidenceFile(scratchFile("alone.hex", quote.toString("hex")), { ...lite, eventLog });
    expect(report.bootInfo?.appId).toBe("86b0e55f2fa8e4fb69d890f14f54d5612707646e");
  });

  test("a quote and the log of another boot is refused, and so is a second log", async () => {
    const eventLog = at("mpc-2026-08-tcb_info.json");
    expect((await outcome(verifyEvidenceFile(scratchFile("alone.bin", quote), { ...lite, eventLog }))).family).toBe("unproven");
    const twice = outcome(verifyEvidenceFile(at("dstack-tdx-lite-getquote.json"), { ...lite, eventLog }));
    expect((await twice).code).toBe("malformed.usage");
    const none = outcome(verifyEvidenceFile(scratchFile("alone.bin", quote), { ...lite, eventLog: at("expected.json") }));
    expect((await none).code).toBe("malformed.file");
  });

  test("the capture whose log is in another file", async () => {
    const files = { collateral: at("collateral-b0c06f-2026-08.json"), eventLog: at("mpc-2026-08-tcb_info.json") };
    const report = await verifyEvidenceFile(at("mpc-2026-08-quote.json"), { ...files, at: "2026-08-20T00:00:00Z" });
    expect(report.bootInfo?.composeHash).toBe("2911e1f733466216dedb862d6d669e11256ee7a34ce4dbc66c4b807ba7a9c895");
  });

  test("--at takes seconds too", async () => {
    const report = await verifyEvidenceFile(at("dstack-tdx-lite-getquote.json"), { ...lite, at: "1781481600" });
    expect(report.tcbStatus).toBe("UpToDate");
  });

  test("--vm-config takes the place of the configuration inside", async () => {
    const vmConfig = scratchFile("vm-config.json", JSON.stringify({ os_image_hash: "cd".repeat(32) }));
    const report = await verifyEvidenceFile(at("dstack-tdx-lite-attestation.json"), { ...lite, vmConfig });
    expect(report.bootInfo?.osImageHash).toBe("cd".repeat(32));
  });
});

describe("the same collateral in each spelling", () => {
  const document = JSON.parse(readFileSync(lite.collateral, "utf8")) as Record<string, string>;
  const withMembers = (change: (name: string, value: string) => [string, unknown]) =>
    Object.fromEntries(Object.entries(document).map(([name, value]) => change(name, value)));
  const isHex = (value: string) => /^[0-9a-f]+$/.test(value);
  const camel = withMembers((name, value) => [name.replace(/_(.)/g, (_, letter) => letter.toUpperCase()), value]);
  const { pck_crl_issuer_chain: _unused, ...required } = document;
  const chain = () => JSON.parse(readFileSync(at("collateral-b0c06f-2026-08-with-chain.json"), "utf8"));
  const quote = at("dstack-tdx-lite-getquote.json");

  test.each<[string, unknown]>([
    ["camel case", camel],
    ["no optional member", required],
    ["optional members that are null", { ...required, pck_crl_issuer_chain: null, pck_certificate_chain: null }],
    ["hex in capitals", withMembers((name, value) => [name, isHex(value) ? value.toUpperCase() : value])],
    ["hex with 0x", withMembers((name, value) => [name, isHex(value) ? `0x${value}` : value])],
    ["arrays of bytes", withMembers((name, value) => [name, isHex(value) ? [...Buffer.from(value, "hex")] : value])],
    ["members that nobody reads", { ...document, version: 3, tee_type: 129, extra: { deep: [1.5] } }],
    ["an answer of a service", { quote_collateral: document }],
    ["a file of several things", { collateral: camel, quote: "00" }],
  ])("%s", async (_name, value) => {
    const collateral = scratchFile("spelled.json", JSON.stringify(value, undefined, 1));
    expect((await verifyEvidenceFile(quote, { ...lite, collateral })).tcbStatus).toBe("UpToDate");
  });

  test("with the chain of the machine in camel case, which comes before that of the quote", async () => {
    const { pck_certificate_chain: pckCertificateChain } = chain();
    const collateral = scratchFile("chain.json", JSON.stringify({ ...camel, pckCertificateChain }));
    expect((await outcome(verifyEvidenceFile(quote, { ...lite, collateral }))).family).toBe("unproven");
  });

  test.each<[string, string]>([
    ["a member twice", JSON.stringify(document).replace("{", '{"pck_crl":"00",')],
    ["a member in two spellings", JSON.stringify({ ...document, pckCrl: document["pck_crl"] })],
    ["an array with a number over 255", JSON.stringify({ ...document, pck_crl: [48, 256] })],
    ["a signed text that was parsed", JSON.stringify({ ...document, tcb_info: JSON.parse(document["tcb_info"] ?? "") })],
    ["no list", JSON.stringify({ ...document, root_ca_crl: undefined })],
    ["an array", JSON.stringify([document])],
    ["nothing", "null"],
    ["five megabytes", " ".repeat(5 * 1024 * 1024)],
  ])("is refused with %s", async (_name, text) => {
    const collateral = scratchFile("refused.json", text);
    expect((await outcome(verifyEvidenceFile(quote, { ...lite, collateral }))).code).toBe("malformed.collateral");
  });
});

describe("a file is refused:", () => {
  test.each<[string, string | Uint8Array, string]>([
    ["empty", "", "malformed.file"],
    ["white space", " \n", "malformed.file"],
    ["words", "no evidence", "malformed.file"],
    ["half a byte of hex", "0x040", "malformed.file"],
    ["broken JSON", '{"quote":', "malformed.file"],
    ["objects in objects", '{"a":{"b":{"c":{"d":{"e":{"quote":"04"}}}}}}', "malformed.file"],
    ["a quote twice", '{"quote":"04","quote":"05"}', "malformed.file"],
    ["nested without end", '{"quote":'.repeat(100_000), "malformed.file"],
    ["base64 that is cut off", Buffer.alloc(60).toString("base64").slice(0, -3), "malformed.file"],
    ["base64 of a word", Buffer.from("no evidence").toString("base64"), "malformed.file"],
    ["TCB info that is broken", '{"quote":"04","tcb_info":"{"}', "malformed.file"],
    ["an object without evidence", "{}", "malformed.file"],
    ["a quote that is a number", '{"quote":4}', "malformed.file"],
    ["a quote that is no hex", '{"quote":"xyz"}', "malformed.file"],
    ["a list of words", '["a"]', "malformed.file"],
    ["a list with a number over 255", "[4,0,256]", "malformed.file"],
    ["an envelope cut short", Uint8Array.of(0, 0, 4), "malformed.envelope"],
    ["bytes of something else", Uint8Array.of(0x7f, 0x45, 0x4c, 0x46), "malformed.envelope"],
    [
      "an event log that is no log",
      JSON.stringify({ quote: readFileSync(at("tdx-v4-b0c06f-a.bin")).toString("hex"), event_log: "{" }),
      "malformed.event-log",
    ],
  ])("%s", (_name, content, code) => {
    expect(() => readEvidenceInput(new Uint8Array(Buffer.from(content)))).toThrow(expect.objectContaining({ code }));
  });

  test.each<[string, Parameters<typeof verifyEvidenceFile>[1], string, string]>([
    ["a quote cut short", lite, "quote.bin", "malformed.quote"],
    ["a time without zone", { ...lite, at: "2026-06-15T00:00:00" }, "tdx-v4-b0c06f-a.bin", "malformed.usage"],
    ["a year alone", { ...lite, at: "2026" }, "tdx-v4-b0c06f-a.bin", "malformed.usage"],
    ["a time that is none", { ...lite, at: "tomorrow" }, "tdx-v4-b0c06f-a.bin", "malformed.usage"],
    ["no such file", lite, "nowhere.bin", "malformed.file"],
    ["collateral that is none", { ...lite, collateral: at("expected.json") }, "tdx-v4-b0c06f-a.bin", "malformed.collateral"],
    ["a root that is none", { ...lite, root: at("expected.json") }, "tdx-v4-b0c06f-a.bin", "malformed.certificate"],
    [
      "a VM configuration that is none",
      { ...lite, vmConfig: at("IntelSGXRootCA.der") },
      "dstack-quote-report.json",
      "malformed.file",
    ],
    [
      "a PCCS that does not answer",
      { at: lite.at, pccs: "http://127.0.0.1:9" },
      "dstack-quote-report.json",
      "unavailable.collateral",
    ],
  ])("%s", async (_name, options, file, code) => {
    const path = file === "quote.bin" ? scratchFile(file, readFileSync(at("tdx-v4-b0c06f-a.bin")).subarray(0, 700)) : at(file);
    expect((await outcome(verifyEvidenceFile(path, options))).code).toBe(code);
  });
});

describe("the process", () => {
  const evidence = (...args: string[]) => runCommandLine("evidence.ts", args);
  const pinned = ["--collateral", lite.collateral, "--at", lite.at];

  test("prints one JSON document and exits 0", async () => {
    const { status, stdout, stderr } = await evidence("verify", at("dstack-tdx-lite-attestation.json"), ...pinned, "--json");
    expect([status, stderr]).toEqual([0, ""]);
    const report = JSON.parse(stdout);
    expect(Object.keys(report).toSorted()).toEqual(
      [
        ...["ok", "kind", "tcbStatus", "advisoryIds", "mrtd", "rtmr", "reportData", "bootInfo"],
        ...["registers", "keyProvider", "mrConfigId"],
      ].toSorted(),
    );
    expect(report.rtmr).toHaveLength(4);
  });

  test("exits by the family of the refusal, words on stderr", async () => {
    const unproven = await evidence(
      "verify",
      at("tdx-v4-50806f-debug.bin"),
      "--collateral",
      at("collateral-50806f-2023-06.json"),
      "--at",
      "2023-07-01T00:00:00Z",
      "--json",
    );
    expect([unproven.status, JSON.parse(unproven.stdout)]).toEqual([
      3,
      { ok: false, code: "unproven.debug", message: expect.any(String) },
    ]);
    const malformed = await evidence("verify", at("README.md"), ...pinned);
    expect([malformed.status, malformed.stdout]).toEqual([2, ""]);
    expect(malformed.stderr).toMatch(/malformed\.file/);
  });

  test("explains itself", async () => {
    const bare = await evidence();
    expect([bare.status, bare.stdout]).toEqual([2, ""]);
    expect(bare.stderr).toMatch(/Usage: evidence/);
    expect(await evidence("verify", "--help")).toMatchObject({
      status: 0,
      stderr: "",
      stdout: expect.stringMatching(/--collateral/),
    });
    const wrong = await evidence("verify", "x", "--colateral", "y", "--json");
    expect([wrong.status, JSON.parse(wrong.stdout).code]).toEqual([2, "malformed.usage"]);
  });
});
