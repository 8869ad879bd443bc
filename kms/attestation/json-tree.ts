/** A strict JSON reader for files that are hashed as text: members keep their order, and whatever has two readings is refused. */
import { type Code, KmsError } from "../errors.ts";

export type JsonNode =
  | { readonly kind: "object"; readonly members: ReadonlyMap<string, JsonNode> }
  | { readonly kind: "array"; readonly items: readonly JsonNode[] }
  /** As it stands in the text: two programs need not print a number alike. */
  | { readonly kind: "number"; readonly literal: string; readonly value: number }
  | { readonly kind: "scalar"; readonly value: string | boolean | null };

const MAX_DEPTH = 32;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

export function parseJsonTree(text: string, what: string, code: Code): JsonNode {
  const reader = new TreeReader(text, what, code);
  const node = reader.node(0);
  reader.end();
  return node;
}

/** The plain value, for a schema. Objects come without prototype, so that no member name is special. */
export function plainValue(node: JsonNode): unknown {
  if (node.kind === "array") return node.items.map(plainValue);
  if (node.kind !== "object") return node.value;
  const plain: Record<string, unknown> = Object.create(null);
  for (const [name, member] of node.members) plain[name] = plainValue(member);
  return plain;
}

class TreeReader {
  readonly #text: string;
  readonly #what: string;
  readonly #code: Code;
  #at = 0;

  constructor(text: string, what: string, code: Code) {
    this.#text = text;
    this.#what = what;
    this.#code = code;
  }

  node(depth: number): JsonNode {
    if (depth > MAX_DEPTH) throw this.#refuse(`nested deeper than ${MAX_DEPTH}`);
    const first = this.#peek();
    if (first === "{") return this.#object(depth);
    if (first === "[") return this.#array(depth);
    if (first === '"') return { kind: "scalar", value: this.#string() };
    if (first === "t") return this.#word("true", true);
    if (first === "f") return this.#word("false", false);
    if (first === "n") return this.#word("null", null);
    return this.#number();
  }

  end(): void {
    if (this.#peek() !== "") throw this.#refuse("text after the value");
  }

  #object(depth: number): JsonNode {
    const members = new Map<string, JsonNode>();
    this.#expect("{");
    if (this.#skip("}")) return { kind: "object", members };
    do {
      if (this.#peek() !== '"') throw this.#refuse("need a member name");
      const name = this.#string();
      if (members.has(name)) throw this.#refuse(`member ${JSON.stringify(name.slice(0, 64))} is repeated`);
      this.#expect(":");
      members.set(name, this.node(depth + 1));
    } while (this.#skip(","));
    this.#expect("}");
    return { kind: "object", members };
  }

  #array(depth: number): JsonNode {
    const items: JsonNode[] = [];
    this.#expect("[");
    if (this.#skip("]")) return { kind: "array", items };
    do items.push(this.node(depth + 1));
    while (this.#skip(","));
    this.#expect("]");
    return { kind: "array", items };
  }

  #string(): string {
    const start = this.#at;
    let isEscaped = false;
    for (this.#at += 1; this.#at < this.#text.length; this.#at += 1) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit < 0x20) throw this.#refuse("control character in a string");
      if (unit === 0x22) {
        this.#at += 1;
        return this.#unescape(this.#text.slice(start, this.#at), isEscaped);
      }
      if (unit !== 0x5c) continue;
      isEscaped = true;
      this.#at += 1;
    }
    throw this.#refuse("string without end");
  }

  #unescape(quoted: string, isEscaped: boolean): string {
    const value = isEscaped ? this.#parse(quoted) : quoted.slice(1, -1);
    // a lone surrogate has no UTF-8 bytes, so it would be hashed as something else
    if (!value.isWellFormed()) throw this.#refuse("lone surrogate in a string");
    return value;
  }

  #parse(quoted: string): string {
    try {
      return String(JSON.parse(quoted));
    } catch (cause) {
      throw new KmsError(this.#code, `${this.#what}: bad escape in a string at character ${this.#at}`, { cause });
    }
  }

  #number(): JsonNode {
    NUMBER.lastIndex = this.#at;
    const literal = NUMBER.exec(this.#text)?.[0];
    if (literal === undefined) throw this.#refuse("need a value");
    const value = Number(literal);
    const isExact = Number.isSafeInteger(value) || (Number.isFinite(value) && /[.eE]/.test(literal) && Math.abs(value) < 2 ** 53);
    if (!isExact) throw this.#refuse("a number that readers do not agree on");
    this.#at += literal.length;
    return { kind: "number", literal, value };
  }

  #word(word: string, value: boolean | null): JsonNode {
    if (!this.#text.startsWith(word, this.#at)) throw this.#refuse("need a value");
    this.#at += word.length;
    return { kind: "scalar", value };
  }

  /** The next character that is not white space, without taking it; empty at the end. */
  #peek(): string {
    for (; ; this.#at += 1) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return this.#text.charAt(this.#at);
    }
  }

  #skip(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at += 1;
    return true;
  }

  #expect(character: string): void {
    if (!this.#skip(character)) throw this.#refuse(`need ${character}`);
  }

  #refuse(detail: string): KmsError {
    return new KmsError(this.#code, `${this.#what}: ${detail} at character ${this.#at}`);
  }
}
