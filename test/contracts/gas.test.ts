/** The gas of our contracts keeps to the budget that the contracts already deployed set. */
import { expect, test } from "vitest";
import { BUDGET_RATIO, exceededBudgets, type GasRow, gasTable, MAX_RUNTIME_BYTES, reportGas } from "../../scripts/gas-report.ts";

const report = await reportGas();
const budgeted = report.rows.filter(({ kind }) => kind === "list" || kind === "factory");

test.each(budgeted)("$operation stays within its budget", ({ reference, ours, sameCalldata }) => {
  expect(ours).toBeLessThanOrEqual(reference * BUDGET_RATIO);
  expect(sameCalldata).toBe(true);
});

test("every list and factory operation has a budget", () => {
  expect(budgeted).toHaveLength(18);
  expect(report.exceeded).toEqual([]);
});

test.each(report.sizes)("$contract can be deployed", ({ ours }) => {
  expect(ours).toBeLessThanOrEqual(MAX_RUNTIME_BYTES);
});

test("every other operation is the same call as the one it is compared with", () => {
  const calls = report.rows.filter(({ kind }) => kind === "setter" || kind === "view");
  expect(calls.filter(({ sameCalldata }) => !sameCalldata).map(({ operation }) => operation)).toEqual([]);
});

test("what exceeds a budget is named with both figures, and only budgets count", () => {
  const row = (kind: GasRow["kind"], ours: number): GasRow => ({
    operation: `a ${kind}`,
    kind,
    reference: 1000,
    ours,
    ratio: ours / 1000,
    sameCalldata: true,
  });
  const sizes = [{ contract: "KmsAuth", reference: 1, ours: MAX_RUNTIME_BYTES + 1 }] as const;
  expect(exceededBudgets([row("list", 1150), row("factory", 1151), row("setter", 9000)], sizes)).toEqual([
    "a factory costs 1151 gas, at most 1150",
    "KmsAuth has 24577 bytes of code, at most 24576",
  ]);
});

test("the table shows every row with both figures", () => {
  const table = gasTable(report);
  expect(table.split("\n")).toHaveLength(report.rows.length + report.sizes.length + 2);
  expect(table).toMatch(/^addOsImageHash new \* +54,611 +[\d,]+ +\d\.\d{3}$/m);
});
