/** The command `gas`: what operations on our contracts cost, beside the contracts already deployed; fails over budget. */
import { Command, CommanderError } from "commander";
import hre from "hardhat";
import { type GasReport, gasTable, reportGas } from "./gas-report.ts";

const program = new Command("gas")
  .description("Compare the gas of the contracts with that of the contracts already deployed. Exits 1 over budget.")
  .option("--json", "one JSON document on stdout")
  .exitOverride();

function print(report: GasReport, json: boolean): void {
  console.log(json ? JSON.stringify({ ok: report.exceeded.length === 0, ...report }) : gasTable(report));
  for (const sentence of report.exceeded) console.error(`over budget: ${sentence}`);
  if (report.exceeded.length > 0) process.exitCode = 1;
}

try {
  const { json } = program.parse().opts<{ json?: true }>();
  await hre.tasks.getTask("build").run({ quiet: true });
  print(await reportGas(), json ?? false);
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}
