/** Compares the gas of our contracts with that of the contracts already deployed, and names what exceeds its budget. */
import { readFile } from "node:fs/promises";
import * as z from "zod";
import { type ContractName, runtimeSize } from "./gas-chain.ts";
import { measureGas } from "./gas-operations.ts";

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
  readonly kind: "deployment" | "factory" | "list" | "setter" | "view";
  readonly reference: number;
  readonly ours: number;
  readonly ratio: number;
  readonly sameCalldata: boolean;
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
  const rows = reference.rows.map(({ operation, kind, gas, calldata }): GasRow => {
    const cost = costs.get(operation);
    if (cost === undefined) throw new Error(`nothing measured ${operation}`);
    const ratio = Number((cost.gas / gas).toFixed(3));
    return { operation, kind, reference: gas, ours: cost.gas, ratio, sameCalldata: cost.calldata === calldata };
  });
  const sizes: SizeRow[] = [];
  for (const contract of ["KmsAuth", "AppAuth", "ERC1967Proxy"] as const) {
    sizes.push({ contract, reference: reference.runtimeSizes[contract], ours: await runtimeSize(contract) });
  }
  return { rows, sizes, exceeded: exceededBudgets(rows, sizes) };
}

export function exceededBudgets(rows: readonly GasRow[], sizes: readonly SizeRow[]): string[] {
  return [
    ...rows
      .filter(({ kind, reference, ours }) => (kind === "list" || kind === "factory") && ours > reference * BUDGET_RATIO)
      .map(({ operation, reference, ours }) => `${operation} costs ${ours} gas, at most ${Math.floor(reference * BUDGET_RATIO)}`),
    ...sizes
      .filter(({ ours }) => ours > MAX_RUNTIME_BYTES)
      .map(({ contract, ours }) => `${contract} has ${ours} bytes of code, at most ${MAX_RUNTIME_BYTES}`),
  ];
}

export function gasTable({ rows, sizes }: GasReport): string {
  const lines = [["operation", "reference", "ours", "ratio"]];
  for (const { operation, kind, reference, ours, ratio } of rows) {
    const budgeted = kind === "list" || kind === "factory" ? " *" : "";
    lines.push([operation + budgeted, grouped(reference), grouped(ours), ratio.toFixed(3)]);
  }
  for (const { contract, reference, ours } of sizes) {
    lines.push([`${contract} run-time code, bytes *`, grouped(reference), grouped(ours), (ours / reference).toFixed(3)]);
  }
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const text = lines.map((line) =>
    line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  "),
  );
  return [...text, "* has a budget"].join("\n");
}

const grouped = (value: number): string => value.toLocaleString("en-US");
