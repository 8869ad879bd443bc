/** How a case is written down before it becomes data: the change as a function, the outcome by hand. */
import type { Change, Check, Expected, Parts } from "./format.ts";
import type { QuoteDraft, World } from "./world.ts";

export interface Draft {
  readonly name: string;
  readonly check: Check;
  readonly base: string;
  readonly expect: Expected;
  /** Before signing; only for simulated bases. */
  readonly edit?: (world: World) => void;
  /** After signing. */
  readonly alter?: (parts: Parts) => Parts;
  /** As data already. */
  readonly changes?: (base: Parts) => readonly Change[];
  readonly stricter?: string;
}

type Extra = Pick<Draft, "stricter">;

export const upToDate: Expected = { status: "UpToDate", advisoryIds: [] };

/** Name, code, change. */
export type RefusalRow = readonly [name: string, code: string, edit: (world: World) => void, stricter?: string | undefined];
/** Name, change; or name, change, status, advisories. */
export type AcceptedRow = readonly [name: string, edit: (world: World) => void, status?: string, advisoryIds?: readonly string[]];

export function refusals(check: Check, base: string, rows: readonly RefusalRow[]): Draft[] {
  return rows.map(([name, code, edit, stricter]) => ({ name, check, base, expect: { code }, edit, ...because(stricter) }));
}

export function acceptances(check: Check, base: string, rows: readonly AcceptedRow[]): Draft[] {
  return rows.map(([name, edit, status = "UpToDate", advisoryIds = []]) => ({
    name,
    check,
    base,
    expect: { status, advisoryIds },
    edit,
  }));
}

/** Members of the quote that come out otherwise. */
export function quoteWith(change: (quote: QuoteDraft) => Partial<QuoteDraft>): (world: World) => void {
  return ({ quote }) => void Object.assign(quote, change(quote));
}

/** Members of the world itself. */
export function worldWith(change: (world: World) => Partial<World>): (world: World) => void {
  return (world) => void Object.assign(world, change(world));
}

/** Changes of the finished parts. */
export type AlterRow = readonly [name: string, code: string | undefined, alter: (parts: Parts) => Parts, stricter?: string];

export function altered(check: Check, base: string, rows: readonly AlterRow[]): Draft[] {
  return rows.map(([name, code, alter, stricter]) => ({
    name,
    check,
    base,
    expect: code === undefined ? upToDate : { code },
    alter,
    ...because(stricter),
  }));
}

function because(stricter: string | undefined): Extra {
  return stricter === undefined ? {} : { stricter };
}

/** Only the quote changes. */
export function onQuote(change: (quote: Uint8Array) => Uint8Array): (parts: Parts) => Parts {
  return (parts) => ({ ...parts, quote: change(parts.quote ?? new Uint8Array()) });
}

/** Only one part changes. */
export function onPart(part: keyof Parts, change: (bytes: Uint8Array) => Uint8Array): (parts: Parts) => Parts {
  return (parts) => ({ ...parts, [part]: change(parts[part] ?? new Uint8Array()) });
}

/** Part of a text gives way to another one; it has to be there. */
export function replaced(part: keyof Parts, from: string, to: string): (parts: Parts) => Parts {
  return onPart(part, (bytes) => {
    const before = Buffer.from(bytes).toString("latin1");
    if (!before.includes(from)) throw new Error(`${part} has no ${from}`);
    return new Uint8Array(Buffer.from(before.replace(from, to), "latin1"));
  });
}
