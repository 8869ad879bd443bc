/** The plain values that RPCs take and return: proto names, bytes as Uint8Array, u32 as number, u64 as bigint. */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";

/** A message by its proto field names; an absent optional or message field is undefined or null. */
export type PlainMessage = Record<string, unknown>;

/** A field that is always there: its default stands in when it is missing, and null is not a value of it. */
export function alwaysPresent(field: DescField): boolean {
  return field.fieldKind !== "message" && field.presence === FeatureSet_FieldPresence.IMPLICIT;
}

/** What a missing field reads as: proto3's default, or undefined where presence is tracked. */
export function defaultOf(field: DescField): unknown {
  if (field.fieldKind === "list") return [];
  return field.fieldKind === "scalar" && alwaysPresent(field) ? scalarDefault(field.scalar) : undefined;
}

export function scalarDefault(scalar: ScalarType): unknown {
  switch (scalar) {
    case ScalarType.STRING:
      return "";
    case ScalarType.BYTES:
      return new Uint8Array();
    case ScalarType.UINT32:
      return 0;
    case ScalarType.UINT64:
      return 0n;
    case ScalarType.BOOL:
      return false;
    default:
      throw new TypeError(`scalar type ${ScalarType[scalar]} is not used by the protocol`);
  }
}

export const MAX_U32 = 2 ** 32 - 1;
export const MAX_U64 = 2n ** 64n - 1n;

/** Our own result checked against its field before it is written: a mistake here is a fault of this program, never the caller's. */
export function needScalar(scalar: ScalarType, value: unknown, name: string): string | boolean | number | bigint | Uint8Array {
  if (scalar === ScalarType.STRING && typeof value === "string") return value;
  if (scalar === ScalarType.BOOL && typeof value === "boolean") return value;
  if (scalar === ScalarType.BYTES && value instanceof Uint8Array) return value;
  if (scalar === ScalarType.UINT32 && typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_U32)
    return value;
  if (scalar === ScalarType.UINT64 && typeof value === "bigint" && value >= 0n && value <= MAX_U64) return value;
  throw new TypeError(`result field ${name}: need ${ScalarType[scalar].toLowerCase()}, have ${typeof value}`);
}

const namesOf = new WeakMap<DescMessage, ReadonlySet<string>>();

/** A misspelled result field would be lost without a word, so it is refused. */
export function needKnownNames(desc: DescMessage, value: PlainMessage): void {
  const names = namesOf.get(desc) ?? new Set(desc.fields.map((field) => field.name));
  namesOf.set(desc, names);
  for (const name in value) {
    if (!names.has(name)) throw new TypeError(`result of type ${desc.name} has no field ${name}`);
  }
}

export function needMessage(value: unknown, name: string): PlainMessage {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw new TypeError(`result field ${name}: need a message, have ${typeof value}`);
  }
  return Object.fromEntries(Object.entries(value));
}

export function needList(value: unknown, name: string): readonly unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new TypeError(`result field ${name}: need a list, have ${typeof value}`);
  return value;
}
