/** `evidence verify` over the real samples: each outcome of expected.json at its pinned time, and every form of input. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { decodeEvidence, encodeEvidence } from "../../kms/attestation/evidence.ts";
import { KmsError } from "../../kms/errors.ts";
import { readEvidenceInput } from "../../scripts/evidence-input.ts";
import { verifyEvidenceFile } from "../../scripts/evidence-verify.ts";

const folder = fileURLToPath(new URL("../fixtures/tdx/", import.meta.url));
const root = fileURLToPath(new URL("../..", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "keyward-evidence-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const at = (name: string): string => join(folder, name);
const lite = { collateral: at("collateral-90c06f-2026-06.json"), at: "2026-06-15T00:00:00Z" };

function scratchFile(name: string, content: string | Uint8Array): string {
  const path = join(scratch, name);
  writeFileSync(path, content);
  return path;
}

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
    ["a capture of a quote alone", JSON.stringify({ quote: `0x${quote.toString("hex")}` }), false],
    ["a capture with its event log", JSON.stringify(capture), true],
    [
      "a capture with its event log in place",
      JSON.stringify({ ...capture, event_log: JSON.parse(capture["event_log"] ?? "") }),
      true,
    ],
    ["a V0 envelope", v0, true],
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

  test("--vm-config takes the place of the configuration inside", async () => {
    const vmConfig = scratchFile("vm-config.json", JSON.stringify({ os_image_hash: "cd".repeat(32) }));
    const report = await verifyEvidenceFile(at("dstack-tdx-lite-attestation.json"), { ...lite, vmConfig });
    expect(report.bootInfo?.osImageHash).toBe("cd".repeat(32));
  });
});

describe("a file is refused:", () => {
  test.each<[string, string | Uint8Array, string]>([
    ["empty", "", "malformed.file"],
    ["white space", " \n", "malformed.file"],
    ["words", "no evidence", "malformed.file"],
    ["half a byte of hex", "0x040", "malformed.file"],
    ["broken JSON", '{"quote":', "malformed.file"],
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
  function evidence(...args: string[]): Promise<{ exit: number; stdout: string; stderr: string }> {
    return new Promise((resolve) => {
      execFile(process.execPath, ["scripts/evidence.ts", ...args], { cwd: root }, (error, stdout, stderr) => {
        resolve({ exit: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
      });
    });
  }
  const pinned = ["--collateral", lite.collateral, "--at", lite.at];

  test("prints one JSON document and exits 0", async () => {
    const { exit, stdout, stderr } = await evidence("verify", at("dstack-tdx-lite-attestation.json"), ...pinned, "--json");
    expect([exit, stderr]).toEqual([0, ""]);
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
    expect([unproven.exit, JSON.parse(unproven.stdout)]).toEqual([
      3,
      { ok: false, code: "unproven.debug", message: expect.any(String) },
    ]);
    const malformed = await evidence("verify", at("README.md"), ...pinned);
    expect([malformed.exit, malformed.stdout]).toEqual([2, ""]);
    expect(malformed.stderr).toMatch(/malformed\.file/);
  });

  test("explains itself", async () => {
    const bare = await evidence();
    expect([bare.exit, bare.stdout]).toEqual([2, ""]);
    expect(bare.stderr).toMatch(/Usage: evidence/);
    expect(await evidence("verify", "--help")).toMatchObject({
      exit: 0,
      stderr: "",
      stdout: expect.stringMatching(/--collateral/),
    });
    const wrong = await evidence("verify", "x", "--colateral", "y", "--json");
    expect([wrong.exit, JSON.parse(wrong.stdout).code]).toEqual([2, "malformed.usage"]);
  });
});
