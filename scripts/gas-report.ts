/** Compares the gas of our contracts with that of the contracts already deployed, and names what exceeds its budget. */
import { readFile } from "node:fs/promises";
import * as z from "zod";
import { type ContractName, type Cost, runtimeSize } from "./gas-chain.ts";
import { measureGas } from "./gas-operations.ts";
import { STRICT_ROWS } from "./gas-strict.ts";

/** Where the figures of the contracts already deployed come from is told beside them. */
export const REFERENCE_FILE = "test/fixtures/gas/reference.json";
/** A list or factory operation may cost at most this much more. */
export const BUDGET_RATIO = 1.15;
/** EIP-170: a contract with more run-time code cannot be deployed. */
export const MAX_RUNTIME_BYTES = 24_576;

const natural = z.number().int().positive();
const referenceSchema = z.strictObject({
  runtimeSizes: z.strictObject({ AppAuth: natural, KmsAuth: natural, ERC1967Proxy: natural }),
  rows: z.array(
    z.strictObject({
      operation: z.string(),
      gas: natural,
      calldata: natural,
      kind: z.enum(["deployment", "factory", "list", "setter", "view"]),
    }),
  ),
});

export interface GasRow {
  readonly operation: string;
  readonly kind: "deployment" | "factory" | "list" | "setter" | "view" | "strict";
  readonly reference: number;
  readonly ours: number;
  readonly ratio: number;
  /** The greatest ratio that is allowed; null where there is no budget. */
  readonly limit: number | null;
  readonly sameCalldata: boolean;
  /** Where the reference is not the same operation of the contracts already deployed: what it is. */
  readonly counterpart?: string;
}

export interface SizeRow {
  readonly contract: ContractName;
  readonly reference: number;
  readonly ours: number;
}

export interface GasReport {
  readonly rows: readonly GasRow[];
  readonly sizes: readonly SizeRow[];
  /** One sentence for each budget that is exceeded. */
  readonly exceeded: readonly string[];
}

export async function reportGas(): Promise<GasReport> {
  const reference = referenceSchema.parse(JSON.parse(await readFile(REFERENCE_FILE, "utf8")));
  const costs = await measureGas();
  const costOf = (operation: string): Cost => {
    const cost = costs.get(operation);
    if (cost === undefined) throw new Error(`nothing measured ${operation}`);
    return cost;
  };
  const compared = reference.rows.map(({ operation, kind, ...theirs }): GasRow => {
    const limit = kind === "list" || kind === "factory" ? BUDGET_RATIO : null;
    return { operation, kind, limit, ...comparison(theirs, costOf(operation)) };
  });
  const strict = STRICT_ROWS.map(({ operation, counterpart, limit = null }): GasRow => {
    const theirs = reference.rows.find((row) => row.operation === counterpart) ?? costOf(counterpart);
    return { operation, kind: "strict", limit, counterpart, ...comparison(theirs, costOf(operation)) };
  });
  const rows = [...compared, ...strict];
  const sizes: SizeRow[] = [];
  for (const contract of ["KmsAuth", "AppAuth", "ERC1967Proxy"] as const) {
    sizes.push({ contract, reference: reference.runtimeSizes[contract], ours: await runtimeSize(contract) });
  }
  return { rows, sizes, exceeded: exceededBudgets(rows, sizes) };
}

function comparison(theirs: Cost, ours: Cost): Pick<GasRow, "reference" | "ours" | "ratio" | "sameCalldata"> {
  const ratio = Number((ours.gas / theirs.gas).toFixed(3));
  return { reference: theirs.gas, ours: ours.gas, ratio, sameCalldata: ours.calldata === theirs.calldata };
}

export function exceededBudgets(rows: readonly GasRow[], sizes: readonly SizeRow[]): string[] {
  return [
    ...rows.flatMap(({ operation, limit, reference, ours }) =>
      limit !== null && ours > reference * limit
        ? [`${operation} costs ${ours} gas, at most ${Math.floor(reference * limit)}`]
        : [],
    ),
    ...sizes
      .filter(({ ours }) => ours > MAX_RUNTIME_BYTES)
      .map(({ contract, ours }) => `${contract} has ${ours} bytes of code, at most ${MAX_RUNTIME_BYTES}`),
  ];
}

export function gasTable({ rows, sizes }: GasReport): string {
  const lines = [["operation", "reference", "ours", "ratio", "limit"]];
  for (const { operation, limit, reference, ours, ratio } of rows) {
    lines.push([operation, grouped(reference), grouped(ours), ratio.toFixed(3), limit?.toFixed(2) ?? ""]);
  }
  for (const { contract, reference, ours } of sizes) {
    const ratio = (ours / reference).toFixed(3);
    lines.push([`${contract} run-time code, bytes`, grouped(reference), grouped(ours), ratio, grouped(MAX_RUNTIME_BYTES)]);
  }
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const text = lines.map((line) =>
    line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  "),
  );
  const standIns = rows.filter(({ counterpart }) => counterpart?.startsWith("compatible"));
  return [...text.map((line) => line.trimEnd()), ...standIns.map(standIn)].join("\n");
}

const standIn = ({ operation, counterpart }: GasRow): string => `${operation}: the reference is this run's ${counterpart}`;
const grouped = (value: number): string => value.toLocaleString("en-US");
