/** The bench of the quote verifier: a real quote beside the bare signature checks it takes, and inputs that grow. */
import { arch, availableParallelism, cpus, platform } from "node:os";
import { measureGrowth } from "./tdx-growth.ts";
import { type TdxReport, tdxReportOf } from "./tdx-report.ts";
import { runTdxRounds, type TdxRoundSettings } from "./tdx-rounds.ts";
import { readSample } from "./tdx-sample.ts";

export function benchTdx(settings: TdxRoundSettings, note: (sentence: string) => void): TdxReport {
  const sample = readSample();
  const series = runTdxRounds(sample, settings, note);
  note("inputs that grow");
  const growth = measureGrowth(sample, Math.ceil(settings.turn / 10));
  return tdxReportOf({ series, growth, floors: sample.floors }, machine());
}

function machine(): string {
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  return `node ${process.version}, ${platform()} ${arch()}, ${availableParallelism()} × ${model}, ${new Date().toISOString()}`;
}
