/** The common shape of Intel's signed JSON objects: hex members, dates, levels, and a decode that never repairs. */
import { z } from "zod";
import { KmsError } from "../../errors.ts";
import { parseJson } from "./json-text.ts";
import { tcbStatuses } from "./tcb-status.ts";

/** TCB info of Intel's largest platform has under 20 KB. */
export const MAX_SIGNED_JSON_CHARACTERS = 1024 * 1024;
const MAX_LEVELS = 1024;
const MAX_ADVISORIES = 1024;

export const u8 = z.int().min(0).max(0xff);
export const u16 = z.int().min(0).max(0xffff);
export const u32 = z.int().min(0).max(0xffffffff);

/** Hex of exactly `length` bytes, either case. */
export function hexBytes(length: number) {
  return z
    .string()
    .length(length * 2)
    .regex(/^[0-9a-fA-F]*$/)
    .transform((text) => Uint8Array.from(Buffer.from(text, "hex")));
}

/** A level whose `tcb` has the given shape. */
export function levels<T extends z.ZodType>(tcb: T) {
  const level = z.object({
    tcb,
    tcbDate: z.string(),
    tcbStatus: z.enum(tcbStatuses),
    advisoryIDs: z.array(z.string()).max(MAX_ADVISORIES).default([]),
  });
  return z.array(level).max(MAX_LEVELS);
}

/** Decodes a signed text; unknown members are ignored, repeated ones were refused by the reader. */
export function decodeSigned<T>(text: string, schema: z.ZodType<T>, what: string): T {
  if (text.length > MAX_SIGNED_JSON_CHARACTERS) {
    throw refuse(what, `at most ${MAX_SIGNED_JSON_CHARACTERS} characters, have ${text.length}`);
  }
  const parsed = schema.safeParse(parseJson(text, `Failed to decode ${what}`));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw refuse(what, `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "wrong shape"}`);
}

const RFC3339 = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(?:\.\d+)?(Z|[+-]\d{2}:\d{2})$/;

/** An RFC 3339 date with any offset in whole seconds since 1970, fractions cut off. */
export function parseDate(text: string, what: string): number {
  const [, day = "", time = "", zone = ""] = RFC3339.exec(text) ?? [];
  const local = Date.parse(`${day}T${time}Z`);
  const seconds = Date.parse(`${day}T${time}${zone}`) / 1000;
  // Date.parse rolls 31 February over into March: only a date that spells itself again exists
  if (Number.isNaN(seconds) || !new Date(local).toISOString().startsWith(`${day}T${time}`)) {
    throw new KmsError("malformed.collateral", `${what}: not an RFC 3339 date`);
  }
  return seconds;
}

function refuse(what: string, detail: string): KmsError {
  return new KmsError("malformed.collateral", `Failed to decode ${what}: ${detail}`);
}
