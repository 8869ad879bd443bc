/** A strict JSON reader for signed text: repeated members refused, depth bounded, and members can be cut out exactly as they were sent. */
import { KmsError } from "../../errors.ts";

const MAX_DEPTH = 32;
/** Of one object. Our index of collateral has 768, what Intel signs under twenty; the table of a larger one costs more for each member. */
export const MAX_MEMBERS = 1024;
const MAX_SAFE_DIGITS = 15;

const CHAR = {
  quote: 0x22,
  comma: 0x2c,
  colon: 0x3a,
  openBracket: 0x5b,
  backslash: 0x5c,
  closeBracket: 0x5d,
  f: 0x66,
  n: 0x6e,
  t: 0x74,
  openBrace: 0x7b,
  closeBrace: 0x7d,
} as const;

/** The second group is fraction and exponent. */
const number = /-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/y;

/** The value of a JSON text. */
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
    if (first === CHAR.quote) return this.#string();
    if (first === CHAR.openBrace) return this.object(depth);
    if (first === CHAR.openBracket) return this.#array(depth);
    if (first === CHAR.t) return this.#word("true", true);
    if (first === CHAR.f) return this.#word("false", false);
    if (first === CHAR.n) return this.#word("null", null);
    return this.#number();
  }

  object(depth: number, onMember?: (name: string, start: number, end: number) => void): Record<string, unknown> {
    const members: Record<string, unknown> = {};
    this.#expect(CHAR.openBrace);
    if (this.#skip(CHAR.closeBrace)) return members;
    let count = 0;
    do {
      count += 1;
      if (count > MAX_MEMBERS) throw this.#refuse(`more than ${MAX_MEMBERS} members in one object`);
      if (this.#peek() !== CHAR.quote) throw this.#refuse("need a member name");
      const name = this.#string();
      // a second value for one name is a second reading of a signed text
      if (Object.hasOwn(members, name)) throw this.#refuse("a member is repeated");
      // the one name that would not become a member of its own; objects without prototype cost several times as much
      if (name === "__proto__") throw this.#refuse("a member is named __proto__");
      this.#expect(CHAR.colon);
      this.#peek();
      const start = this.#at;
      members[name] = this.value(depth + 1);
      onMember?.(name, start, this.#at);
    } while (this.#skip(CHAR.comma));
    this.#expect(CHAR.closeBrace);
    return members;
  }

  end(): void {
    this.#peek();
    if (this.#at !== this.#text.length) throw this.#refuse("text after the value");
  }

  #array(depth: number): unknown[] {
    this.#expect(CHAR.openBracket);
    if (this.#skip(CHAR.closeBracket)) return [];
    // a push to an empty array takes room for seventeen items, which is much for the three characters of [0]
    const items = [this.value(depth + 1)];
    while (this.#skip(CHAR.comma)) items.push(this.value(depth + 1));
    this.#expect(CHAR.closeBracket);
    return items;
  }

  #string(): string {
    const start = this.#at;
    let escaped = false;
    for (this.#at += 1; this.#at < this.#text.length; this.#at += 1) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit === CHAR.quote) {
        this.#at += 1;
        return escaped ? this.#unescape(start) : this.#text.slice(start + 1, this.#at - 1);
      }
      if (unit === CHAR.backslash) {
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
    number.lastIndex = this.#at;
    const match = number.exec(this.#text);
    if (match === null) throw this.#refuse("need a value");
    this.#at = number.lastIndex;
    const [literal, rest] = match;
    return rest !== "" || literal.length > MAX_SAFE_DIGITS ? Number.NaN : Number(literal);
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#refuse("need a value");
    this.#at += word.length;
    return value;
  }

  /** The next character that is not white space, without taking it; NaN at the end. */
  #peek(): number {
    let unit = this.#text.charCodeAt(this.#at);
    while (unit === 0x20 || unit === 0x09 || unit === 0x0a || unit === 0x0d) {
      this.#at += 1;
      unit = this.#text.charCodeAt(this.#at);
    }
    return unit;
  }

  #skip(character: number): boolean {
    if (this.#peek() !== character) return false;
    this.#at += 1;
    return true;
  }

  #expect(character: number): void {
    if (!this.#skip(character)) throw this.#refuse(`need ${String.fromCharCode(character)}`);
  }

  #refuse(detail: string): KmsError {
    return new KmsError("malformed.collateral", `${this.#what}: ${detail} at character ${this.#at}`);
  }
}
