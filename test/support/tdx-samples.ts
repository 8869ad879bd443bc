/** The real TDX and SGX samples of test/fixtures/tdx as quotes, collateral and expected outcomes. */
import { readFileSync } from "node:fs";
import { type Collateral, parseCollateral } from "../../kms/attestation/tdx/collateral.ts";

export interface SampleRun {
  readonly collateral: string;
  readonly at: string;
  readonly result: "accepted" | "rejected";
  readonly reason?: string;
  readonly status?: string;
  readonly advisory_ids?: readonly string[];
  readonly platform_status?: string;
  readonly qe_status?: string;
  readonly tdx_module?: { readonly id: string; readonly status: string } | null;
}

export interface Sample {
  readonly file: string;
  readonly encoding: string;
  readonly quote_length: number;
  readonly version: number;
  readonly tee_type: number;
  readonly trailing_bytes: number;
  readonly pck: Readonly<Record<string, string | number>>;
  readonly fields: Readonly<Record<string, string | number>>;
  readonly runs?: readonly SampleRun[];
}

export interface CollateralFacts {
  readonly tcb_info: { readonly issueDate: string; readonly nextUpdate: string };
  readonly qe_identity: { readonly issueDate: string; readonly nextUpdate: string };
  readonly root_ca_crl: { readonly thisUpdate: string; readonly nextUpdate: string; readonly revoked: number };
  readonly pck_crl: { readonly thisUpdate: string; readonly nextUpdate: string; readonly revoked: number };
  readonly usable_from: string;
  readonly usable_to: string;
}

interface Expected {
  readonly samples: readonly Sample[];
  readonly collateral: Readonly<Record<string, CollateralFacts>>;
}

export function readFixture(file: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../fixtures/tdx/${file}`, import.meta.url)));
}

function readText(file: string): string {
  return new TextDecoder().decode(readFixture(file));
}

export const expected: Expected = JSON.parse(readText("expected.json"));

export function readCollateral(file: string): Collateral {
  return parseCollateral(readText(file));
}

/** The raw quote bytes of a sample, whatever its file wraps them in. */
export function readQuote(file: string): Uint8Array {
  if (file.endsWith("hex")) return fromHexText(readText(file));
  if (file === "mpc-2026-08-quote.json") return Uint8Array.from(JSON.parse(readText(file)));
  if (file === "dstack-tdx-lite-attestation.json") return quoteInside(fromHexText(JSON.parse(readText(file)).attestation));
  if (file.endsWith(".json")) return fromHexText(JSON.parse(readText(file)).quote);
  return file === "dstack-sim-attestation.bin" ? quoteInside(readFixture(file)) : readFixture(file);
}

/** A V0 envelope holds the quote whole: found by its header and cut to the length of these two samples. */
function quoteInside(envelope: Uint8Array): Uint8Array {
  const start = Buffer.from(envelope).indexOf(Buffer.from("040002008100000000000000939a7233", "hex"));
  return envelope.slice(start, start + 5006);
}

function fromHexText(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.trim().replace(/^0x/, ""), "hex"));
}
