/** Every real case of the corpus before another verifier, @phala/dcap-qvl-web: the same outcome, or a difference that is explained. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { initSync, js_verify } from "@phala/dcap-qvl-web";
import { expect, test } from "vitest";
import { z } from "zod";
import { decodeEvidence } from "../../kms/attestation/evidence.ts";
import {
  type Case,
  changedParts,
  type Parts,
  partsOf,
  readCorpusFile,
  readManifest,
  text,
} from "../support/evidence-corpus/format.ts";
import { collateralText } from "../support/evidence-corpus/judge.ts";

const wasm = createRequire(import.meta.url).resolve("@phala/dcap-qvl-web/dcap-qvl-web_bg.wasm");
initSync({ module: readFileSync(wasm) });

const report = z.object({ status: z.string(), advisory_ids: z.array(z.string()) });
const { bases, cases } = readManifest();
const real = cases.filter(({ base }) => JSON.stringify(bases[base]?.parts.root ?? "").includes("IntelSGXRootCA.der"));

function baseOf(name: string): Parts {
  const base = bases[name];
  if (base === undefined) throw new Error(`no base ${name}`);
  return partsOf(base, readCorpusFile);
}

function partsOfCase({ base, changes }: Case): Parts {
  return changedParts(baseOf(base), changes, baseOf);
}

function quoteOf({ quote, attestation }: Parts): Uint8Array {
  if (quote !== undefined) return quote;
  const { platform } = decodeEvidence(attestation ?? new Uint8Array());
  return platform.kind === "tdx" ? platform.quote : new Uint8Array();
}

function theirs(parts: Parts): string {
  const collateral = { ...JSON.parse(collateralText(parts)), pck_crl_issuer_chain: "" };
  const now = BigInt(Math.floor(Date.parse(text(parts.time ?? new Uint8Array())) / 1000));
  try {
    const { status, advisory_ids: advisories } = report.parse(js_verify(quoteOf(parts), collateral, now));
    return [status, ...advisories].join(" ");
  } catch {
    return "refused";
  }
}

function ours({ expect: outcome }: Case): string {
  return "code" in outcome ? "refused" : [outcome.status, ...outcome.advisoryIds].join(" ");
}

/** In this order: a case that two of them explain is given the first. */
const explanations: readonly (readonly [reason: string, count: number, holds: (entry: Case, parts: Parts) => boolean])[] = [
  ["it reads no QE identity at all", 19, ({ check }) => check === 11 || check === 12],
  ["it reads no PCK chain beside the quote", 4, (_, { pck_certificate_chain: chain }) => chain !== undefined],
  ["it reads no issue date", 2, ({ check }) => check === 7],
  ["it takes a revocation list from the future", 1, ({ name }) => name.startsWith("a later PCK list, which has not begun")],
  ["it accepts a platform below every level, as Unknown", 2, ({ check }) => check === 22],
  ["it cannot read version 5", 2, (_, parts) => quoteOf(parts)[0] === 5],
  ["it wants two certificates in every chain", 1, ({ name }) => name === "a real TCB chain that is the leaf alone is accepted"],
  ["it ignores bytes that nobody signed", 1, ({ stricter }) => stricter === "bytes that nobody signs follow the auth data"],
];

test("another verifier decides every real case alike, but for what it does not check", () => {
  const counts = new Map(explanations.map(([reason]) => [reason, 0]));
  const unexplained: string[] = [];
  for (const entry of real) {
    const parts = partsOfCase(entry);
    const [here, there] = [ours(entry), theirs(parts)];
    if (here === there) continue;
    const [reason] = explanations.find(([, , holds]) => holds(entry, parts)) ?? [];
    if (reason === undefined) unexplained.push(`${entry.name}: ${here} here, ${there} there`);
    else counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  expect(unexplained).toEqual([]);
  expect(Object.fromEntries(counts)).toEqual(Object.fromEntries(explanations.map(([reason, count]) => [reason, count])));
  expect(real.length).toBeGreaterThan(190);
});
