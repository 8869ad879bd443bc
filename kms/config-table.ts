/** Plain nested tables as TOML and JSON give them: reading, removing and merging by dotted key. */

export interface Table {
  readonly [key: string]: unknown;
}

export function isTable(value: unknown): value is Table {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

export function at(table: Table, path: readonly string[]): unknown {
  let value: unknown = table;
  for (const key of path) value = isTable(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return value;
}

/** The table without the value at `path`; tables on the way stay, even when they become empty. */
export function without(table: Table, path: readonly string[]): Table {
  const [head, ...tail] = path;
  return Object.fromEntries(
    Object.entries(table).flatMap(([key, value]) => {
      if (key !== head) return [[key, value]];
      return tail.length > 0 ? [[key, isTable(value) ? without(value, tail) : value]] : [];
    }),
  );
}

/** `over` wins key by key; a value that is no table replaces what was there. */
export function merge(under: Table, over: Table): Table {
  const merged = new Map(Object.entries(under));
  for (const [key, value] of Object.entries(over)) {
    const below = merged.get(key);
    merged.set(key, isTable(below) && isTable(value) ? merge(below, value) : value);
  }
  return Object.fromEntries(merged); // defines own members, so that a key named __proto__ stays data
}

export function nested(path: readonly string[], value: unknown): Table {
  const [head, ...tail] = path;
  return head === undefined ? {} : { [head]: tail.length > 0 ? nested(tail, value) : value };
}
