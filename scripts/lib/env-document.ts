/** An app's environment: read from a .env file or JSON, held to what guests accept, and written as the one plaintext they read. */
import { z } from "zod";
import { utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";

export interface EnvItem {
  readonly key: string;
  readonly value: string;
}

/** Guests refuse the whole environment over any of these. */
export const limits = { items: 1024, keyBytes: 255, valueBytes: 128 * 1024, totalBytes: 1024 * 1024 } as const;
const keyForm = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

const list = z.array(z.strictObject({ key: z.string(), value: z.string() }));
const jsonForms = z.union([
  z.strictObject({ env: list }).transform(({ env }) => env),
  list,
  z.record(z.string(), z.string()).transform((map) => Object.entries(map).map(([key, value]) => ({ key, value }))),
]);

/** `{"env":[{"key":…,"value":…}]}`, that list alone, one object of names and values, or lines of NAME=VALUE. */
export function parseEnv(text: string, what: string): EnvItem[] {
  const first = text.trimStart()[0];
  return needAcceptable(first === "{" || first === "[" ? parseEnvJson(text, what) : parseLines(text, what), what);
}

/** Without the limits: what was encrypted elsewhere is shown as it is. */
export function parseEnvJson(text: string, what: string): EnvItem[] {
  try {
    return jsonForms.parse(JSON.parse(text));
  } catch {
    // no cause: parsers quote what they could not read, and here that is a secret
    throw new KmsError("malformed.file", `${what}: not an environment in JSON, ${text.length} characters`);
  }
}

/** The bytes that are encrypted, as the SDKs of the reference write them. */
export function encodeEnv(items: readonly EnvItem[]): Uint8Array {
  return utf8(JSON.stringify({ env: items.map(({ key, value }) => ({ key, value })) }));
}

/** Blank lines and comments aside, each line is NAME=VALUE; quotes around a whole value are not part of it, and nothing is expanded. */
function parseLines(text: string, what: string): EnvItem[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    if (/^\s*(?:#|$)/.test(line)) return [];
    const [, key, raw] = /^\s*(?:export\s+)?([^\s=]+)\s*=(.*)$/.exec(line) ?? [];
    if (key === undefined || raw === undefined)
      throw new KmsError("malformed.file", `${what}, line ${index + 1}: need NAME=VALUE`);
    const value = raw.trim();
    return [{ key, value: /^(["'])(.*)\1$/.exec(value)?.[2] ?? value }];
  });
}

function needAcceptable(items: EnvItem[], what: string): EnvItem[] {
  const refuse = (message: string) => new KmsError("malformed.file", `${what}: ${message}`);
  if (items.length > limits.items) throw refuse(`need at most ${limits.items} variables, have ${items.length}`);
  const seen = new Set<string>();
  let total = 0;
  for (const { key, value } of items) {
    if (!keyForm.test(key) || key.length > limits.keyBytes) throw refuse(`'${key.slice(0, 40)}' is not the name of a variable`);
    if (seen.has(key)) throw refuse(`${key} stands twice`);
    seen.add(key);
    const size = utf8(value).length;
    if (size > limits.valueBytes) throw refuse(`${key}: need at most ${limits.valueBytes} bytes, have ${size}`);
    total += key.length + size;
  }
  if (total > limits.totalBytes) throw refuse(`need at most ${limits.totalBytes} bytes, have ${total}`);
  return items;
}
