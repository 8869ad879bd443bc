/** Reads JSON text without losing what JSON.parse drops: members that stand twice, and the exact digits of numbers. */
import { KmsError } from "../errors.ts";

export type JsonNode =
  | { readonly kind: "object"; readonly members: readonly (readonly [string, JsonNode])[] }
  | { readonly kind: "array"; readonly items: readonly JsonNode[] }
  | { readonly kind: "string"; readonly text: string }
  | { readonly kind: "number"; readonly digits: string }
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "null" };

/** The nesting that the reference's reader allows; it also keeps hostile input off our stack. */
export const MAX_JSON_DEPTH = 128;
/** Values in one text, members nobody reads included. Ten megabytes of `0,` would otherwise become 260 MB of nodes and two seconds of work. */
export const MAX_JSON_VALUES = 16_384;

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

export function parseJsonText(text: string): JsonNode {
  const reader = new JsonReader(text);
  const node = reader.value(0);
  reader.end();
  return node;
}

/** One pass from left to right: every character is looked at a bounded number of times. */
class JsonReader {
  readonly #text: string;
  #at = 0;
  #values = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): JsonNode {
    if (depth > MAX_JSON_DEPTH) throw this.#wrong(`nested deeper than ${MAX_JSON_DEPTH}`);
    this.#values += 1;
    if (this.#values > MAX_JSON_VALUES) throw this.#wrong(`more than ${MAX_JSON_VALUES} values`);
    this.#skipSpace();
    switch (this.#text[this.#at]) {
      case "{":
        return { kind: "object", members: this.#list("}", () => this.#member(depth + 1)) };
      case "[":
        return { kind: "array", items: this.#list("]", () => this.value(depth + 1)) };
      case '"':
        return { kind: "string", text: this.#string() };
      case "t":
        return this.#word("true", { kind: "boolean", value: true });
      case "f":
        return this.#word("false", { kind: "boolean", value: false });
      case "n":
        return this.#word("null", { kind: "null" });
      default:
        return { kind: "number", digits: this.#number() };
    }
  }

  end(): void {
    this.#skipSpace();
    if (this.#at !== this.#text.length) throw this.#wrong("trailing characters");
  }

  /** Comma-separated items up to the closing bracket; the opening one is the current character. */
  #list<Item>(close: string, item: () => Item): Item[] {
    const items: Item[] = [];
    this.#at += 1;
    this.#skipSpace();
    if (this.#take(close)) return items;
    for (;;) {
      items.push(item());
      this.#skipSpace();
      if (this.#take(close)) return items;
      if (!this.#take(",")) throw this.#wrong(`need "," or "${close}"`);
    }
  }

  #member(depth: number): readonly [string, JsonNode] {
    this.#skipSpace();
    if (this.#text[this.#at] !== '"') throw this.#wrong("need a member name");
    const name = this.#string();
    this.#skipSpace();
    if (!this.#take(":")) throw this.#wrong('need ":"');
    return [name, this.value(depth)];
  }

  /** Finds the closing quote; what stands between is judged and unescaped by JSON.parse. */
  #string(): string {
    const start = this.#at;
    let at = start + 1;
    while (at < this.#text.length && this.#text.charCodeAt(at) !== QUOTE) {
      at += this.#text.charCodeAt(at) === BACKSLASH ? 2 : 1;
    }
    if (at >= this.#text.length) throw this.#wrong("string without end");
    this.#at = at + 1;
    try {
      return String(JSON.parse(this.#text.slice(start, this.#at)));
    } catch {
      this.#at = start;
      throw this.#wrong("string with a bad escape or control character");
    }
  }

  #number(): string {
    NUMBER.lastIndex = this.#at;
    const digits = NUMBER.exec(this.#text)?.[0];
    if (digits === undefined) throw this.#wrong("need a value");
    this.#at += digits.length;
    return digits;
  }

  #word(word: string, node: JsonNode): JsonNode {
    if (!this.#text.startsWith(word, this.#at)) throw this.#wrong("need a value");
    this.#at += word.length;
    return node;
  }

  #take(character: string): boolean {
    const found = this.#text[this.#at] === character;
    if (found) this.#at += 1;
    return found;
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x09 && code !== 0x0a && code !== 0x0d) return;
      this.#at += 1;
    }
  }

  /** The place, and never the text around it: a request may carry what must not be repeated. */
  #wrong(what: string): KmsError {
    return new KmsError("malformed.request", `request JSON: ${what} at character ${this.#at}`);
  }
}
