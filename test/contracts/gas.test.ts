/** The gas of our contracts keeps to the budget that the contracts already deployed set. */
import { expect, test } from "vitest";
import { BUDGET_RATIO, exceededBudgets, type GasRow, gasTable, MAX_RUNTIME_BYTES, reportGas } from "../../scripts/gas-report.ts";

const report = await reportGas();
const budgeted = report.rows.filter(({ limit }) => limit !== null);
const compared = report.rows.filter(({ kind }) => kind !== "strict" && kind !== "deployment");

test.each(budgeted)("$operation stays within its budget", ({ reference, ours, limit, sameCalldata }) => {
  expect(ours).toBeLessThanOrEqual(reference * (limit ?? 0));
  expect(sameCalldata).toBe(true);
});

test("every list and factory operation of compatible mode has the same budget, evidence in strict mode its own", () => {
  expect(report.rows.filter(({ limit }) => limit === BUDGET_RATIO)).toHaveLength(18);
  const evidence = budgeted.filter(({ kind }) => kind === "strict");
  expect(evidence.map(({ operation, counterpart, reference, limit }) => [operation, counterpart, reference, limit])).toEqual([
    ["strict setKmsInfo with bound 5,000 B quote, new", "setKmsInfo with 5,000 B quote, new", 3_785_076, 0.4],
    ["strict setKmsQuote, another bound 5,000 B", "setKmsQuote 5,000 B, different", 912_419, 1.4],
    [
      "strict setKmsInfo with another bound 5,000 B quote",
      "compatible setKmsInfo with another 5,000 B quote",
      expect.any(Number),
      1.4,
    ],
  ]);
  expect(budgeted).toHaveLength(21);
  expect(report.exceeded).toEqual([]);
});

test.each(report.sizes)("$contract can be deployed", ({ ours }) => {
  expect(ours).toBeLessThanOrEqual(MAX_RUNTIME_BYTES);
});

test("every other operation is the same call as the one it is compared with", () => {
  expect(compared.filter(({ sameCalldata }) => !sameCalldata).map(({ operation }) => operation)).toEqual([]);
});

test("a strict list change that changes nothing costs less than the compatible repeat", () => {
  const ours = (operation: string) => report.rows.find((row) => row.operation === operation)?.ours ?? Number.NaN;
  for (const operation of ["addKmsAggregatedMr repeated", "app addComposeHash repeated"]) {
    expect(ours(`strict ${operation}`)).toBeLessThan(ours(operation));
  }
});

test("what exceeds a budget is named with both figures, and only budgets count", () => {
  const row = (kind: GasRow["kind"], ours: number, limit: number | null): GasRow => ({
    operation: `a ${kind}`,
    kind,
    reference: 1000,
    ours,
    ratio: ours / 1000,
    limit,
    sameCalldata: true,
  });
  const rows = [row("list", 1150, 1.15), row("factory", 1151, 1.15), row("setter", 9000, null), row("strict", 401, 0.4)];
  const sizes = [{ contract: "KmsAuth", reference: 1, ours: MAX_RUNTIME_BYTES + 1 }] as const;
  expect(exceededBudgets(rows, sizes)).toEqual([
    "a factory costs 1151 gas, at most 1150",
    "a strict costs 401 gas, at most 400",
    "KmsAuth has 24577 bytes of code, at most 24576",
  ]);
});

test("the table shows every row with both figures, its limit, and which reference is a stand-in", () => {
  const table = gasTable(report);
  expect(table.split("\n")).toHaveLength(report.rows.length + report.sizes.length + 2);
  expect(table).toMatch(/^addOsImageHash new +54,611 +[\d,]+ +\d\.\d{3} +1\.15$/m);
  expect(table).toMatch(/^gatewayAppId of 3 characters +29,298 +[\d,]+ +\d\.\d{3}$/m);
  expect(table.split("\n").at(-1)).toContain("the reference is this run's compatible setKmsInfo");
});
