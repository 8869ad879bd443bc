/** Rounds in which each way to verify the real quote has its turn, beside the bare signature checks that it takes. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { initSync, js_verify } from "@phala/dcap-qvl-web";
import { replayEvents } from "../kms/attestation/events.ts";
import { decodeEvidence } from "../kms/attestation/evidence.ts";
import { OpenedCollateral } from "../kms/attestation/tdx/opened-collateral.ts";
import { parseQuote } from "../kms/attestation/tdx/quote.ts";
import { intelSgxRootCa } from "../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../kms/attestation/tdx/verify.ts";
import { fromHex } from "../kms/bytes.ts";
import { realJson } from "../test/support/real-evidence.ts";
import { runFloor, type Sample } from "./tdx-sample.ts";

export const tdxRows = [
  "warm, floor",
  "warm, ours",
  "new machine, floor",
  "new machine, ours",
  "cold, floor",
  "cold, ours",
  "dcap-qvl-web",
  "envelope and RTMR3",
] as const;
export type TdxRow = (typeof tdxRows)[number];

export interface TdxSeries {
  readonly name: TdxRow;
  /** Microseconds of processor time for one, a mean for each round. */
  readonly turns: readonly number[];
}

/** Until the compiler has seen them often enough: a service runs for long. */
const warmUpTurns = 10;

export interface TdxRoundSettings {
  readonly rounds: number;
  readonly turn: number;
}

export function runTdxRounds(sample: Sample, settings: TdxRoundSettings, note: (sentence: string) => void): TdxSeries[] {
  const work = workOf(sample);
  const series = tdxRows.map((name) => ({ name, turns: [] as number[] }));
  const timesOf = (name: TdxRow) => (name === "dcap-qvl-web" ? Math.ceil(settings.turn / 10) : settings.turn);
  note("warming up");
  for (const { name } of series) timeEach(work[name], timesOf(name) * warmUpTurns);
  for (let round = 1; round <= settings.rounds; round++) {
    note(`round ${round} of ${settings.rounds}`);
    for (const { name, turns } of series) turns.push(timeEach(work[name], timesOf(name)));
  }
  return series;
}

/** Microseconds of this process's processor time for one: what else runs on the machine may make it wait, but is not counted. */
export function timeEach(work: () => void, times: number): number {
  const start = process.cpuUsage();
  for (let time = 0; time < times; time++) work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / times;
}

function workOf({ quote, collateral, collateralJson, pckChain, now, floors }: Sample): Record<TdxRow, () => void> {
  const memory = new OpenedCollateral();
  const anchor = intelSgxRootCa;
  let machines = 0;
  initSync({ module: readFileSync(fileURLToPath(import.meta.resolve("@phala/dcap-qvl-web/dcap-qvl-web_bg.wasm"))) });
  const at = BigInt(now.getTime() / 1000);
  const envelope = fromHex(realJson("dstack-tdx-lite-attestation.json")["attestation"] ?? "", "attestation");
  return {
    "warm, floor": () => runFloor(floors.warm),
    "warm, ours": () => verifyQuote({ quote: parseQuote(quote), collateral, anchor, now }, memory),
    "new machine, floor": () => runFloor(floors.machine),
    "new machine, ours": () => {
      machines += 1;
      // text before the certificates does not count, and makes a chain that was never seen
      const pckCertificateChain = `${machines}\n${pckChain}`;
      verifyQuote({ quote: parseQuote(quote), collateral: { ...collateral, pckCertificateChain }, anchor, now }, memory);
    },
    "cold, floor": () => runFloor(floors.cold),
    "cold, ours": () => verifyQuote({ quote: parseQuote(quote), collateral, anchor, now }),
    "dcap-qvl-web": () => js_verify(quote, collateralJson, at),
    "envelope and RTMR3": () => replayEvents(decodeEvidence(envelope).stack.runtimeEvents, "sha384"),
  };
}
