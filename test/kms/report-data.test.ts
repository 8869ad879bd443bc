/** Report data against the protocol's vectors, and the binding of evidence to it. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Evidence } from "../../kms/attestation/evidence.ts";
import { bindEvidence, bootstrapReportData, type ReportDataTag, reportData } from "../../kms/attestation/report-data.ts";
import { fromHex, toHex, utf8 } from "../../kms/bytes.ts";

const vectors = JSON.parse(readFileSync(new URL("../fixtures/vectors/kdf.json", import.meta.url), "utf8"));

describe("report data", () => {
  test.each(vectors.report_data as { content_type: ReportDataTag; content: string; report_data: string }[])(
    "for $content_type",
    ({ content_type, content, report_data }) => {
      expect(toHex(reportData(content_type, fromHex(content, "content")))).toBe(report_data);
    },
  );

  test.each(vectors.bootstrap_report_data as { ca_pubkey: string; k256_pubkey: string; report_data: string }[])(
    "for the bootstrap proof",
    ({ ca_pubkey, k256_pubkey, report_data }) => {
      expect(toHex(bootstrapReportData(fromHex(ca_pubkey, "spki"), fromHex(k256_pubkey, "k256")))).toBe(report_data);
    },
  );
});

describe("binding", () => {
  const claimed = reportData("ratls-cert", utf8("key"));
  const evidence: Evidence = {
    wire: "v1",
    platform: { kind: "tdx", quote: new Uint8Array(0), eventLog: [] },
    stack: { kind: "dstack", reportData: claimed, runtimeEvents: [], config: "" },
  };

  test("accepts the key that the evidence claims", () => {
    expect(bindEvidence(evidence, reportData("ratls-cert", utf8("key")))).toBe(evidence);
  });

  test.each<[string, Uint8Array]>([
    ["another key", reportData("ratls-cert", utf8("other"))],
    ["another tag", reportData("app-data", utf8("key"))],
    ["a prefix of it", claimed.subarray(0, 32)],
    ["nothing", new Uint8Array(0)],
  ])("refuses evidence bound to %s", (_name, expected) => {
    expect(() => bindEvidence(evidence, expected)).toThrow(
      expect.objectContaining({ code: "unproven.report-data", message: "report data mismatch" }),
    );
  });
});
