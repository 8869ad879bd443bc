/** A strict JSON reader for signed text: repeated members refused, depth bounded, and members can be cut out exactly as they were sent. */
import { KmsError } from "../../errors.ts";

const MAX_DEPTH = 32;
const MAX_SAFE_DIGITS = 15;

/** The value of a JSON text. Objects come without prototype, so that no member name is special. */
export function parseJson(text: string, what: string): unknown {
  const reader = new JsonReader(text, what);
  const value = reader.value(0);
  reader.end();
  return value;
}

/** The text of each member of a JSON object, byte for byte: what was signed is a slice of the input, never a re-encoding. */
export function cutMembers(text: string, what: string): ReadonlyMap<string, string> {
  const reader = new JsonReader(text, what);
  const members = new Map<string, string>();
  reader.object(0, (name, start, end) => members.set(name, text.slice(start, end)));
  reader.end();
  return members;
}

class JsonReader {
  readonly #text: string;
  readonly #what: string;
  #at = 0;

  constructor(text: string, what: string) {
    this.#text = text;
    this.#what = what;
  }

  value(depth: number): unknown {
    if (depth > MAX_DEPTH) throw this.#refuse(`nested deeper than ${MAX_DEPTH}`);
    const first = this.#peek();
    if (first === "{") return this.object(depth);
    if (first === "[") return this.#array(depth);
    if (first === '"') return this.#string();
    if (first === "t") return this.#word("true", true);
    if (first === "f") return this.#word("false", false);
    if (first === "n") return this.#word("null", null);
    return this.#number();
  }

  object(depth: number, onMember?: (name: string, start: number, end: number) => void): Record<string, unknown> {
    const members: Record<string, unknown> = Object.create(null);
    this.#expect("{");
    if (this.#skip("}")) return members;
    do {
      if (this.#peek() !== '"') throw this.#refuse("need a member name");
      const name = this.#string();
      // a second value for one name is a second reading of a signed text
      if (name in members) throw this.#refuse("a member is repeated");
      this.#expect(":");
      this.#peek();
      const start = this.#at;
      members[name] = this.value(depth + 1);
      onMember?.(name, start, this.#at);
    } while (this.#skip(","));
    this.#expect("}");
    return members;
  }

  end(): void {
    if (this.#peek() !== "") throw this.#refuse("text after the value");
  }

  #array(depth: number): unknown[] {
    const items: unknown[] = [];
    this.#expect("[");
    if (this.#skip("]")) return items;
    do items.push(this.value(depth + 1));
    while (this.#skip(","));
    this.#expect("]");
    return items;
  }

  #string(): string {
    const start = this.#at;
    let escaped = false;
    for (this.#at += 1; this.#at < this.#text.length; this.#at += 1) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit === 0x22) {
        this.#at += 1;
        return escaped ? this.#unescape(start) : this.#text.slice(start + 1, this.#at - 1);
      }
      if (unit === 0x5c) {
        escaped = true;
        this.#at += 1;
      } else if (unit < 0x20) throw this.#refuse("control character in a string");
    }
    throw this.#refuse("string without end");
  }

  #unescape(start: number): string {
    try {
      return String(JSON.parse(this.#text.slice(start, this.#at)));
    } catch (cause) {
      throw new KmsError("malformed.collateral", `${this.#what}: bad escape in a string`, { cause });
    }
  }

  /** No member that is read is a fraction or beyond 15 digits: such a literal becomes NaN, which no schema takes. */
  #number(): number {
    const pattern = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) throw this.#refuse("need a value");
    this.#at = pattern.lastIndex;
    const [literal, fraction, exponent] = match;
    return fraction || exponent || literal.length > MAX_SAFE_DIGITS ? Number.NaN : Number(literal);
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#refuse("need a value");
    this.#at += word.length;
    return value;
  }

  /** The next character that is not white space, without taking it; empty at the end. */
  #peek(): string {
    while (" \t\n\r".includes(this.#text.charAt(this.#at)) && this.#at < this.#text.length) this.#at += 1;
    return this.#text.charAt(this.#at);
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
    return new KmsError("malformed.collateral", `${this.#what}: ${detail} at character ${this.#at}`);
  }
}
