/** The operator's page names every setting, code, metric and route that there is, and its example file is a good one. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { decisionCodes } from "../../auth-eth/api.ts";
import { filePolicySchema } from "../../auth-eth/file-policy.ts";
import { createMetrics } from "../../auth-eth/metrics.ts";
import { createDocument } from "../../auth-eth/openapi.ts";

const read = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), "utf8");
const page = await read("docs/auth-eth.md");
/** The first column of every table. */
const firstCells = page.split("\n").map((line) => /^\| `([^`]+)`/.exec(line)?.[1]);
const named = (pattern: RegExp) => firstCells.filter((cell) => cell !== undefined && pattern.test(cell)).sort();

test("has a row for every variable that the configuration reads", async () => {
  const sources = `${await read("auth-eth/config.ts")}${await read("auth-eth/config-values.ts")}`;
  const variables = [...sources.matchAll(/\b(?:text|integer)\("([A-Z_]+)"/g)].map(([, name]) => name);
  expect(variables.length).toBeGreaterThan(10);
  expect(named(/^[A-Z_]+$/)).toEqual([...new Set(variables)].sort());
});

test("has a row for every code", () => {
  expect(named(/^(allowed|invalid|denied\..*|unavailable\..*)$/)).toEqual([...decisionCodes].sort());
});

test("has a row for every metric", async () => {
  const names = [...(await createMetrics().text()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  expect(named(/^auth_eth_/)).toEqual(names.sort());
});

test("names every route", () => {
  for (const [path, methods] of Object.entries(createDocument().paths)) {
    for (const method of Object.keys(methods)) expect(page).toContain(`\`${method.toUpperCase()} ${path}\``);
  }
});

test("shows a policy file that is one", () => {
  const [, example = ""] = /```json\n(.*?)```/s.exec(page) ?? [];
  expect(filePolicySchema.safeParse(JSON.parse(example))).toMatchObject({ success: true });
});
